"""Writing rooms-v1 to disk, every scene checked against the published record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayzer.data.scene_jobs import Plan, SceneTask, check_replaced, open_staging
from rayzer.data.sources.source import SceneRef
from rayzer.data.strict_json import mentions
from rayzer.data.synthetic.room_jobs import run_rooms
from rayzer.data.synthetic.rooms import ComposedRoom, render_images
from rayzer.data.synthetic.rooms_v1.definition import (
    CONTEXTS,
    IMAGE_SIZE,
    NAME,
    TARGETS,
    VIEWS,
    benchmark_scenes,
)
from rayzer.data.synthetic.rooms_v1.record import published, record_of
from rayzer.data.synthetic.writing import write_list, write_room
from rayzer.data.view_index import write_view_index
from rayzer.data.view_sampling import frame_split
from rayzer.errors import InputError
from rayzer.progress import Advance

SCENES, REPORT = "scenes", "benchmark.json"


@dataclass(frozen=True)
class BenchmarkJob:
    """Making the scenes of the benchmark: a `RoomJob`; the key of a task is the scene's name."""

    @property
    def pixels_per_room(self) -> int:
        """See `RoomJob`."""
        return VIEWS * IMAGE_SIZE**2

    def compose(self, key: str) -> ComposedRoom:
        """The room of the scene of that name."""
        return next(scene for scene in benchmark_scenes() if scene.name == key).compose()

    def render(self, rooms: Sequence[ComposedRoom], device: str, progress: Advance) -> Tensor:
        """Pictures [b, v, 3, h, w]."""
        return render_images(rooms, IMAGE_SIZE, device=device, progress=progress)

    def write(self, task: SceneTask, room: ComposedRoom, pixels: np.ndarray, target: Path) -> dict[str, Any]:
        """Write one scene folder, if it comes out as published."""
        targets = torch.from_numpy(pixels[list(TARGETS)]).permute(0, 3, 1, 2) / 255
        difference = published()[task.name].difference(record_of(room, targets))
        if difference:
            raise InputError(
                f"{task.name}: {difference} came out otherwise than published, so scores on it would not compare; "
                "please report this with the output of `rayzer info`"
            )
        write_room(room, pixels, task.name, target)
        return {"name": task.name}


def generate(out: Path, device: str, workers: int | None, overwrite: bool) -> None:
    """Write all of rooms-v1: scenes, a list for each span and for the pairs, and a view index for each context size.

        OUT/scenes/NAME/               pictures and opencv_cameras.json
        OUT/span-0.25.txt, ...         scene lists: span-0.25, span-0.50, span-1.00, pairs
        OUT/views-08.json, ...         view indices: 3, 4, 6, 8, 12 and 16 contexts, always the same targets
        OUT/benchmark.json             its name

    Args:
        out: output folder; until all is made, everything is in `out/.partial`, and the same call goes on with it.
        device: where to cast rays.
        workers: how many processes, as in `run_rooms`.
        overwrite: replace an earlier copy.

    Raises:
        InputError: if `out` cannot be written, or a scene comes out otherwise than published.
    """
    scenes = list(benchmark_scenes())
    tasks = tuple(SceneTask(number, SceneRef(out, scene.name), scene.name) for number, scene in enumerate(scenes))
    scene_lists = {
        f"{group}.txt" if group == "pairs" else f"span-{group}.txt": group
        for group in dict.fromkeys(scene.group for scene in scenes)
    }
    view_indices = {f"views-{count:02d}.json": context for count, context in CONTEXTS.items()}
    writes = (SCENES, *scene_lists, *view_indices, REPORT)
    check_replaced(out, writes, own=writes if mentions(out / REPORT, NAME) else ())
    staging = open_staging(out, Plan(NAME, {}, tasks), overwrite)
    outcomes = run_rooms(BenchmarkJob(), staging, tasks, device, workers)
    wrong = next((outcome.error for outcome in outcomes if outcome.result is None), None)
    if wrong:
        raise InputError(wrong)

    def describe(folder: Path) -> None:
        for name, group in scene_lists.items():
            write_list(folder / name, [f"{SCENES}/{scene.name}" for scene in scenes if scene.group == group])
        for name, context in view_indices.items():
            write_view_index({scene.name: frame_split(context, TARGETS) for scene in scenes}, folder / name)
        (folder / REPORT).write_text(json.dumps({"benchmark": NAME, "scenes": len(scenes)}) + "\n", encoding="utf-8")

    lists = writes[1:]
    staging.finish(
        describe, [(staging.results, out / SCENES), *((staging.folder / name, out / name) for name in lists)]
    )
