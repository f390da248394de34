"""From files to views: scenes, images, sources."""
