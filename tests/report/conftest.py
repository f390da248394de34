"""A small world of coloured balls, photographed along a curved path, and pages about it."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from rayzer.rendering.video import write_mp4
from rayzer.report.prediction_page import Download, Fact, FlyThrough, Notice, PredictionPage, View

BALLS = np.array([[0, 0.4, 0, 0.6], [1.1, 0.65, 0.4, 0.35], [-1, 0.7, -0.3, 0.3], [0.3, 0.8, -1, 0.2]])
COLOURS = np.array([[214, 96, 77], [67, 147, 195], [244, 202, 100], [90, 174, 97]])
INTRINSICS = [0.9, 0.9, 0.5, 0.5]


def look_at(center, target=(0.0, 0.4, 0.0)):
    """`world_from_camera` rows of a camera at `center`; the world's y points down."""
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, center], 1)
    return pose.tolist()


def arc(count, turn=1.6):
    angles = np.linspace(-turn, turn, count)
    return [look_at([3 * np.sin(a), -0.6 - 0.3 * np.cos(2 * a), -3 * np.cos(a)]) for a in angles]


def photo(pose, size):
    """Balls on a chequered floor under a pale sky, uint8 [size, size, 3]."""
    pose = np.array(pose)
    v, u = (np.mgrid[:size, :size] + 0.5) / size
    rays = np.stack([(u - 0.5) / 0.9, (v - 0.5) / 0.9, np.ones_like(u)], -1) @ pose[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    origin = pose[:3, 3]
    floor_distance = np.where(rays[..., 1] > 1e-3, (1 - origin[1]) / np.maximum(rays[..., 1], 1e-3), 60)
    cell = np.floor(1.2 * (origin + rays * floor_distance[..., None])).astype(int)
    tone = np.where((cell[..., 0] + cell[..., 2]) % 2, 205, 165) + (235 - 205) * np.minimum(floor_distance / 20, 1)
    picture = np.where(floor_distance[..., None] < 60, tone[..., None], [196, 216, 235] + 40 * v[..., None])
    nearest = floor_distance
    for (*center, radius), colour in zip(BALLS, COLOURS, strict=True):
        toward = rays @ (center - origin)
        miss = radius**2 - (np.sum((center - origin) ** 2) - toward**2)
        distance = np.where(miss > 0, toward - np.sqrt(np.maximum(miss, 0)), np.inf)
        normal = (origin + rays * np.where(miss > 0, distance, 0)[..., None] - center) / radius
        shade = 0.55 + 0.45 * np.clip(normal @ [-0.4, -0.8, -0.4], 0, 1)
        hit = distance < nearest
        picture = np.where(hit[..., None], colour * shade[..., None], picture)
        nearest = np.where(hit, distance, nearest)
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_views(folder, poses, names, size, every=3):
    """Save photos and blurred "renders"; every third view is a target."""
    views = []
    for index, (pose, name) in enumerate(zip(poses, names, strict=True)):
        picture = Image.fromarray(photo(pose, size))
        target = index % every == every - 1
        view = {
            "name": name,
            "picture": f"frames/{name}",
            "world_from_camera": pose,
            "intrinsics": INTRINSICS,
        }
        (folder / "frames").mkdir(exist_ok=True)
        (folder / "renders").mkdir(exist_ok=True)
        picture.save(folder / view["picture"], format="png")
        if target:
            view |= {"render": f"renders/{name}", "psnr_db": 24.0 + 0.37 * index}
            picture.filter(ImageFilter.GaussianBlur(size / 100)).save(folder / view["render"], format="png")
        views.append(View(role="target" if target else "context", **view))
    return views


def write_fly_through(folder, path, size):
    frames = [photo(pose, size) for pose in path]
    write_mp4(folder / "flythrough.mp4", frames, fps=20)
    Image.fromarray(frames[0]).save(folder / "poster.png")
    return FlyThrough("flythrough.mp4", "poster.png", size, size, path)


@pytest.fixture(scope="session")
def make_page():
    """Write pictures, renders and a video into a folder and return a page about them."""
    return example_page


def example_page(folder, *, size=64, poses=None, names=None, frames=20, **changes):
    poses = poses or arc(6)
    names = names or [f"IMG_{index:03d}.png" for index in range(len(poses))]
    fields = {
        "title": "Balls on a table",
        "subtitle": ["A small world of coloured balls, photographed along a curved path."],
        "width_px": size,
        "height_px": size,
        "views": write_views(folder, poses, names, size),
        "fly_through": write_fly_through(folder, arc(frames, 1.3), size),
        "notices": [Notice("info", "photo IMG_003.jpg was left out: it ends too early, copy it again")],
        "downloads": [Download("cameras.json", "cameras.json", "All cameras: poses and intrinsics")],
        "facts": [Fact("Model", "RayZer, 36.5 M parameters")],
    }
    return PredictionPage(**{**fields, **changes})
