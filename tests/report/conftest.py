"""A small world of coloured balls, photographed along a curved path, and pages about it."""

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from rayzer.rendering.video import write_mp4
from rayzer.report.parts import Download, Fact, Notice
from rayzer.report.prediction_page import FlyThrough, PredictionPage, View

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


def failure_of(request):
    return f"{request.url} {request.failure}"


def is_cancelled(request):
    """A browser that has seen enough of a video ends the request itself; missing ones fail in another way."""
    return request.url.endswith(".mp4") and request.failure == "net::ERR_ABORTED"


@pytest.fixture
def browse(chromium):
    """Open a page; whatever the browser complains about or asks a network for fails the test afterwards."""
    complaints, contexts = [], []

    def opened(url, width=1280, **options):
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url),
        )
        page.on("requestfailed", lambda request: is_cancelled(request) or complaints.append(failure_of(request)))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


VIEWS = 12  # of every evaluated scene; every third is a target


@pytest.fixture(scope="session")
def make_evaluation(tmp_path_factory):
    """Write `results.json` and its pictures into a folder, as `rayzer evaluate` does; returns the content."""
    pools = {}

    def make(folder, *, scenes=3, size=48, names=None, video=True, **changes):
        if size not in pools:
            pools[size] = write_pool(tmp_path_factory.mktemp("pool"), size)
        names = names or [f"scene {number:03d}" for number in range(scenes)]
        content = evaluation(folder, pools[size], names, size, video) | changes
        content = {key: value for key, value in content.items() if value is not ...}
        (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
        return content

    return make


def write_pool(folder, size):
    """Pictures and a video that all scenes share: file name -> bytes."""
    poses = arc(VIEWS)
    for index, pose in enumerate(poses):
        picture = Image.fromarray(photo(pose, size))
        picture.save(folder / f"{index:03d}.webp", quality=80)
        picture.filter(ImageFilter.GaussianBlur(size / 60)).save(folder / f"{index:03d}-render.webp", quality=80)
    write_mp4(folder / "fly.mp4", [photo(pose, size) for pose in arc(20)], fps=20)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def evaluation(folder, pool, names, size, video):
    """The content of a results file about scenes that all look alike but score differently."""
    scenes = [scene_result(folder, pool, number, name, size, video) for number, name in enumerate(names)]
    return {
        "format": "rayzer-results-1",
        "title": "tiny on balls",
        "summary": {
            **mean_scores([scene for scene in scenes if scene["psnr"] is not None]),
            "scenes": len(scenes),
            "views": sum(len(scene["views"]) for scene in scenes),
            "confidence": {"psnr": [24.1, 26.3], "ssim": [0.78, 0.82], "lpips": [0.17, 0.2]},
        },
        "scenes": scenes,
        "failed": [],
        "left_out": {"null": ["an empty street"], "absent": []},
        "controls": {
            "copy_nearest": scores(15.2),
            "blend_two": scores(16.4),
            "constant_camera": scores(12.1),
            "shuffled_order": scores(19.7),
            "reversed_order": scores(24.6),
        },
        "no_leak": {**scores(21.3), "note": "Target slots were filled with the input photo before."},
        "poses": {**POSES, "scenes": len(scenes)},
        "view_counts": [
            {"context": count, "targets": 4, "scenes": len(scenes), **scores(18 + count**0.5)} for count in (3, 5, 8)
        ],
        "transfer": {
            "exact": {"pairs": 6, **scores(20.1), "own": scores(25.0)},
            "re_estimated": {
                "pairs": 6,
                "auc": {"30": 0.5},
                "rra": {"15": 0.7},
                "rta": {"15": 0.6},
                "rpa": {"15": 0.5},
            },
        },
        "probe": {"train_scenes": 96, "test_scenes": 32, "iterations": 10000, **POSES},
        "protocol_reference": scores(25.1),
        "verdict": {
            "cameras": "are not",
            "text": "Moving a camera moves the picture, but not as the true camera moved: half of all pairs of views "
            "are off by more than 15 degrees, and another scene does not follow these cameras.",
        },
        "not_computed": {},
        "config": {"width": 768, "camera": {"layers": 8}},
        "checkpoint": {"path": "runs/tiny/checkpoints/step-00096000", "sha256": "0123456789abcdef" * 4},
        "protocol": {"name": "default", "precision": "float32", "sha256": "fedcba9876543210" * 4},
        "data": {"scenes": "scenes.txt", "view_index": "view_index.json", "view_index_sha256": "00ff" * 16},
        "versions": {"rayzer": "0.1.0", "torch": "2.10", "python": "3.12", "device": "cpu", "precision": "float32"},
    }


POSES = {
    "rra": {"5": 0.41, "15": 0.78, "30": 0.93},
    "rta": {"5": 0.22, "15": 0.61, "30": 0.8},
    "rpa": {"5": 0.2, "15": 0.55, "30": 0.78},
    "auc": {"5": 0.08, "20": 0.4, "30": 0.51},
    "ate": 0.31,
    "focal_error": 0.12,
    "rotation_error_deg": 6.4,
    "translation_error_deg": 11.9,
}


def scores(psnr):
    return {"psnr": psnr, "ssim": round(psnr / 32, 4), "lpips": round(0.65 - psnr / 55, 4)}


def mean_scores(items):
    return {key: sum(item[key] for item in items) / len(items) for key in ("psnr", "ssim", "lpips")}


def scene_result(folder, pool, number, name, size, video):
    place = f"scenes/{number:04d}"
    (folder / place).mkdir(parents=True, exist_ok=True)
    for file, data in pool.items():
        if video or file != "fly.mp4":
            (folder / place / file).write_bytes(data)
    score = 25 + 5 * float(np.sin(7.0 * number)) + 0.01 * number
    targets = range(2, VIEWS, 3)
    views = [
        {
            "index": index,
            "name": f"frame_{index:05d}.png",
            **scores(score + 0.5 * (index - 6.5)),
            "truth": f"{place}/{index:03d}.webp",
            "render": f"{place}/{index:03d}-render.webp",
        }
        for index in targets
    ]
    context = [
        {"index": index, "name": f"frame_{index:05d}.png", "picture": f"{place}/{index:03d}.webp"}
        for index in range(VIEWS)
        if index not in targets
    ]
    fly = {"video": f"{place}/fly.mp4", "poster": f"{place}/000.webp", "path": arc(20)}
    return {
        "name": name,
        **mean_scores(views),
        "views": views,
        "context": context,
        "size": [size, size],
        "cameras": {
            "frames": list(range(VIEWS)),
            "predicted": camera_list(arc(VIEWS)),
            "true": camera_list(arc(VIEWS, 1.5)),
            "given": False,
        },
        "fly_through": fly if video else None,
        "controls": {"copy_nearest": scores(score - 9.5)},
        "no_leak": scores(score - 4),
        "poses": POSES,
        "transfer": None,
    }


def camera_list(poses):
    return {"world_from_camera": poses, "intrinsics": [INTRINSICS] * len(poses)}
