"""Encode a folder of photos once and fly around the scene: python examples/orbit_video.py PHOTOS CHECKPOINT OUT.mp4"""

import sys

import torch

import rayzer
from rayzer.prediction.selection import target_slots
from rayzer.rendering.video import write_mp4


def main(photos: str, checkpoint: str, video: str) -> None:
    model = rayzer.load_model(checkpoint)
    assert isinstance(model, rayzer.RayZer), "an LVSM needs known cameras"
    config = model.config
    count = config.context_views + config.target_views
    views = rayzer.load_images(photos, count, config.image_height, config.patch_size)
    images = views.images[None]

    targets = target_slots(count, config.target_views)
    context = [view for view in range(count) if view not in targets]
    with torch.no_grad():
        cameras = model.estimate_cameras(images)
        scene = model.reconstruct(images[:, context], cameras[:, context], torch.tensor([context]))
        path = rayzer.geometry.trajectories.orbit(cameras[0], 60)
        frames = torch.cat([model.render(scene, camera[None, None])[0] for camera in path])
    pixels = (255 * frames).round().byte().permute(0, 2, 3, 1).numpy()
    write_mp4(video, pixels, fps=24)


if __name__ == "__main__":
    main(*sys.argv[1:])
