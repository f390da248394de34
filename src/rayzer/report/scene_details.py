"""What a page shows of one chosen scene, as JSON values for `scene_details.js`."""

from __future__ import annotations

from collections.abc import Sequence

from rayzer.report.build import relative_url
from rayzer.report.camera_plot import CameraPlot, PlottedCamera, Pose
from rayzer.report.pictures import PictureFolder
from rayzer.report.results import ContextView, Poses, SceneResult, ScoredView
from rayzer.report.scores import DASH, METRICS, PSNR, percent, score_line
from rayzer.report.tables import CONTROLS

PATH_POSES = 96
"""A path is drawn with at most so many poses: the eye sees no more, and pages stay small."""

DEFAULT_SIZE_PX = (256, 256)


def scene_details(scene: SceneResult, files: PictureFolder) -> dict:
    """Names, scores, pictures, cameras and the fly-through of a scene."""
    width, height = scene.size_px or DEFAULT_SIZE_PX
    return {
        "name": scene.name,
        "size": [width, height],
        "figures": scene_figures(scene),
        "views": [_view(view, scene.context, files) for view in scene.views],
        "context": [_context(view, scene, files) for view in scene.context],
        "plot": _plot(scene, files),
        "given": scene.cameras is not None and scene.cameras.given,
        "aligned": scene.cameras is not None and scene.cameras.true is not None,
        "video": _video(scene, files),
    }


def scene_figures(scene: SceneResult) -> list[tuple[str, str]]:
    """(label, text) of every figure of a scene."""
    figures = [(metric.label, metric.text(scene.scores)) for metric in METRICS]
    if scene.no_leak:
        figures.append(("No leak", PSNR.text(scene.no_leak)))
    figures += [(label, PSNR.text(scene.controls[key])) for key, label in CONTROLS.items() if key in scene.controls]
    figures += _pose_figures(scene.poses) if scene.poses else []
    return [(label, text) for label, text in figures if text != DASH]


def _pose_figures(poses: Poses) -> list[tuple[str, str]]:
    shares = [("RRA", poses.rra, "15"), ("RTA", poses.rta, "15"), ("RPA", poses.rpa, "15"), ("AUC", poses.auc, "30")]
    figures = [
        (f"{label} at {degrees}°", percent(by_limit[degrees]))
        for label, by_limit, degrees in shares
        if degrees in by_limit
    ]
    if poses.ate is not None:
        figures.append(("ATE", percent(poses.ate)))
    if poses.focal_error is not None:
        figures.append(("Focal error", percent(poses.focal_error)))
    return figures


def nearest_context(index: int, context: Sequence[ContextView]) -> ContextView | None:
    """The context view that is nearest by frame, ties to the earlier: the one that "copy nearest" copies."""
    return min(context, key=lambda view: (abs(view.index - index), view.index), default=None)


def comparison_choices(view: ScoredView, nearest: ContextView | None, files: PictureFolder) -> list[dict | None]:
    """What the render is compared with: the truth, the nearest input, and the error map. None where it is missing."""
    truth = files.present(view.picture)
    beside = files.present(nearest.picture) if nearest else None
    true_url = relative_url(truth) if truth else None
    return [
        {"label": "Truth", "picture": true_url} if true_url else None,
        {"label": "Nearest input", "picture": relative_url(beside)} if beside else None,
        {"label": "Error", "picture": true_url, "error": True} if true_url else None,
    ]


def _view(view: ScoredView, context: Sequence[ContextView], files: PictureFolder) -> dict:
    render = files.present(view.render)
    return {
        "name": view.name,
        "scores": score_line(view.scores),
        "psnr": PSNR.text(view.scores),
        "render": relative_url(render) if render else None,
        "choices": comparison_choices(view, nearest_context(view.index, context), files),
    }


def _context(view: ContextView, scene: SceneResult, files: PictureFolder) -> dict:
    picture = files.present(view.picture)
    frames = list(scene.cameras.frames) if scene.cameras else []
    return {
        "name": view.name,
        "camera": frames.index(view.index) if view.index in frames else None,  # its number in the plot
        "picture": relative_url(picture) if picture else None,
    }


def _video(scene: SceneResult, files: PictureFolder) -> dict | None:
    clip = scene.fly_through
    video = files.present(clip.video) if clip else None
    if clip is None or video is None:
        return None
    poster = files.present(clip.poster)
    return {"video": relative_url(video), "poster": relative_url(poster) if poster else None}


def _plot(scene: SceneResult, files: PictureFolder) -> dict | None:
    if scene.cameras is None:
        return None
    names = {view.index: (view.name, "context", view.picture, "") for view in scene.context}
    names |= {view.index: (view.name, "target", view.picture, PSNR.text(view.scores)) for view in scene.views}
    cameras, true = [], []
    for number, frame in enumerate(scene.cameras.frames):
        name, kind, picture, note = names.get(frame, (f"frame {frame}", "context", None, ""))
        predicted, known = scene.cameras.predicted, scene.cameras.true
        pose, lens = predicted.world_from_camera[number], _short(predicted.intrinsics[number])
        cameras.append(PlottedCamera(kind, name, _short_pose(pose), lens, files.present(picture), note))
        if known:
            pose, lens = known.world_from_camera[number], _short(known.intrinsics[number])
            true.append(PlottedCamera("true", name, _short_pose(pose), lens))
    path = scene.fly_through.path if scene.fly_through else ()
    every = -(-len(path) // PATH_POSES) or 1
    return CameraPlot([*cameras, *true], [_short_pose(pose) for pose in path[::every]]).data


def _short_pose(pose: Pose) -> list[list[float]]:
    """The rows that a plot reads, with as many digits as it can show."""
    return [_short(row) for row in pose[:3]]


def _short(numbers: Sequence[float]) -> list[float]:
    return [float(f"{number:.5g}") for number in numbers]
