"""View indices: files that say which frames of which scenes an evaluation uses, and making new ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from rayzer.data.randomness import random_stream
from rayzer.data.scenes import Scene
from rayzer.data.strict_json import load_json
from rayzer.data.view_sampling import Range, frame_split, two_frame_split
from rayzer.data.views import evenly_spaced, frame_of
from rayzer.errors import InputError
from rayzer.files import output_file
from rayzer.view_split import ViewSplit

Kind = Literal["even", "random"]


@dataclass(frozen=True)
class ViewIndex:
    """Which frames of which scenes are context and target.

    Attributes:
        path: the file it was read from, for messages.
        splits: for every scene name the frames, as positions in the scene's `frames` (batch size 1, each part in
            the file's order); None for a scene that is not to be used.
    """

    path: Path
    splits: Mapping[str, ViewSplit | None]

    def split_of(self, scene: Scene) -> ViewSplit | None:
        """The frames of a scene; None if it is null in the index or not in it.

        Raises:
            InputError: naming scene and frame, if a frame does not exist or has no picture.
        """
        split = self.splits.get(scene.name)
        if split is not None:
            self._check_frames(scene, split)
        return split

    def _check_frames(self, scene: Scene, split: ViewSplit) -> None:
        for index in (*split.context[0].tolist(), *split.target[0].tolist()):
            try:
                frame_of(scene, index)
            except InputError as error:
                raise InputError(f"{self.path}: {error} (or correct this view index)") from None


def read_view_index(path: Path | str) -> ViewIndex:
    """Read `{scene_name: {"context": [...], "target": [...]} | null}`; other keys of an entry are not looked at.

    Raises:
        InputError: naming file, scene and key, if it is anything else.
    """
    path = Path(path)
    return ViewIndex(path, {name: _entry(entry, f"{path}: {name}") for name, entry in load_json(path).items()})


@dataclass(frozen=True)
class IndexRequest:
    """How to choose views.

    Both kinds take a window of a random length in `distance` at a random place. "even" spaces the views evenly in
    it and spreads the targets over them (16 + 8: slots 2, 5, 8, 11, 14, 17, 20, 22, as in the official DL3DV
    files); "random" draws them as training does.

    Attributes:
        kind: "even" or "random".
        context, target: numbers of views, at least 2 and 1.
        distance: smallest and largest number of frames from first to last view, not counting those without a
            picture; None for the whole scene.
        seed: another seed gives other views.

    Raises:
        InputError: if views could not all be different frames.
    """

    kind: Kind = "even"
    context: int = 16
    target: int = 8
    distance: Range | None = (64, 96)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.context < 2 or self.target < 1:
            views = f"{self.context} + {self.target} views"
            raise InputError(f"{views}: a sample needs at least 2 context views and 1 target view; ask for more")
        low, high = self.distance or (self.least, self.least)
        if not self.least <= low <= high:
            wanted = f"smallest-largest, from {self.least} on for {self.least + 1} views"
            raise InputError(f"distance {low}-{high}: must be {wanted}")

    @property
    def least(self) -> int:
        """The smallest distance at which all views can be different frames."""
        return self.context + self.target - 1


def make_index(scenes: Iterable[Scene], request: IndexRequest) -> dict[str, ViewSplit | None]:
    """Choose views for every scene, whatever else is in the list and in which order.

    Args:
        scenes: to choose from; frames without a picture are not chosen.
        request: how.

    Returns:
        frame numbers per scene name; None where the scene is too short.

    Raises:
        InputError: if two scenes have one name, or all are too short.
    """
    splits: dict[str, ViewSplit | None] = {}
    longest = 0
    for scene in unique_names(scenes):
        splits[scene.name] = _chosen(scene, request)
        longest = max(longest, len(scene.present))
    if not any(splits.values()):
        needed = f"{1 + (request.distance or (request.least,))[0]} frames with a picture that views need"
        raise InputError(
            f"none of {len(splits)} scenes has the {needed} (the longest has {longest}); lower the distance, ask for "
            "fewer views, or restore missing pictures"
        )
    return splits


def write_view_index(splits: Mapping[str, ViewSplit | None], path: Path) -> None:
    """Write a view index file, one line a scene.

    Raises:
        InputError: if it cannot be written.
    """
    lines = [f"{json.dumps(name)}: {json.dumps(_lists(split))}" for name, split in splits.items()]
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        with output_file(path) as partial:
            partial.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def parse_distance(text: str) -> Range | None:
    """Read "64-96" (smallest and largest distance) or "all" (None: the whole scene).

    Raises:
        InputError: if it is neither.
    """
    if text == "all":
        return None
    low, _, high = text.partition("-")
    if not (low.isdecimal() and high.isdecimal()):
        raise InputError(f"--distance {text}: expected a smallest and a largest number of frames, like 64-96, or all")
    return int(low), int(high)


def even_target_slots(views: int, target: int) -> list[int]:
    """Which of `views` views in a row are targets: every n-th, but never the first nor the last.

    Raises:
        ValueError: if fewer than two views would be left.
    """
    if not 1 <= target <= views - 2:
        raise ValueError(f"{target} of {views} views cannot be targets")
    spread = [(k + 1) * views // target - 1 for k in range(target)]
    return [min(max(slot, k + 1), views - 1 - target + k) for k, slot in enumerate(spread)]


def unique_names(scenes: Iterable[Scene]) -> Iterable[Scene]:
    """The scenes, one by one.

    Raises:
        InputError: naming both sources, if two scenes have one name.
    """
    sources: dict[str, Path] = {}
    for scene in scenes:
        if scene.name in sources:
            both = f"has the name {scene.name!r} of {sources[scene.name]}"
            raise InputError(f"{scene.source}: {both}; view indices go by name, so rename one of the scenes")
        sources[scene.name] = scene.source
        yield scene


def _chosen(scene: Scene, request: IndexRequest) -> ViewSplit | None:
    available = scene.present
    whole = max(len(available) - 1, request.least)
    distance = request.distance or (whole, whole)
    if len(available) <= distance[0]:
        return None
    rng = random_stream(request.seed, f"view index of {scene.name}")
    split = two_frame_split(len(available), distance, request.context, request.target, rng)
    if request.kind == "even":
        split = _evened(split)
    context, target = ([available[place] for place in part[0].tolist()] for part in (split.context, split.target))
    return frame_split(context, target)


def _evened(split: ViewSplit) -> ViewSplit:
    """As many views in the same window, evenly spaced."""
    target = split.target.shape[1]
    views = split.context.shape[1] + target
    first, last = split.context[0, [0, -1]].tolist()
    window = [first + step for step in evenly_spaced(views, last - first + 1)]
    targets = [window[slot] for slot in even_target_slots(views, target)]
    return frame_split(set(window) - set(targets), targets)


def _entry(entry: Any, where: str) -> ViewSplit | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise InputError(f'{where}: must be null or an object with "context" and "target"; is this a view index?')
    parts = {key: _frames(entry.get(key), f"{where}: {key}") for key in ("context", "target")}
    return ViewSplit(**{key: torch.tensor([frames], dtype=torch.int64) for key, frames in parts.items()})


def _frames(value: Any, where: str) -> list[int]:
    numbers = value if isinstance(value, list) else []
    if not numbers or any(type(number) is not int or not 0 <= number < 2**31 for number in numbers):
        raise InputError(f"{where}: must be a list of at least one frame number, from 0 on")
    return numbers


def _lists(split: ViewSplit | None) -> dict[str, list[int]] | None:
    return split and {"context": split.context[0].tolist(), "target": split.target[0].tolist()}
