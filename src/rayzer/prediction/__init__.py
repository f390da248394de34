"""The main job: photos or a video in; cameras, a scene, new views, files and a page out."""
