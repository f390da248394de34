"""What a format is: something that recognises its files, finds the scenes in them and reads one of them.

A new format is one file with a subclass of `Source`, and one line in `rayzer.data.formats`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from rayzer.data.scenes import Scene
from rayzer.errors import InputError

ProblemKind = Literal["image", "intrinsics", "pose"]
VIDEO_FRAMES = 24

Value = TypeVar("Value")


@dataclass(frozen=True)
class SceneRef:
    """Where one scene lies; plain data that goes into lists and to worker processes.

    Attributes:
        path: the file or folder that holds it.
        key: which of several scenes in `path`; empty where there is only one.
        format: name of the format; empty to recognise it when the scene is read.
    """

    path: Path
    key: str = ""
    format: str = ""

    def __str__(self) -> str:
        return f"{self.path}#{self.key}" if self.key else str(self.path)


def refuse(kind: ProblemKind, error: InputError) -> None:
    """The usual answer to a frame that is wrong: the whole scene is refused."""
    raise error


def leave_out(lost: list[str], advice: str = "") -> Callable[[ProblemKind, InputError], None]:
    """Another answer: pictures that cannot be read are left out, wrong cameras refuse the scene.

    Args:
        lost: gets a line on each picture that is left out.
        advice: what else can be done about wrong cameras; follows the message.
    """

    def report(kind: ProblemKind, error: InputError) -> None:
        if kind != "image":
            raise InputError(f"{error}{advice}")
        lost.append(str(error))

    return report


@dataclass(frozen=True)
class ReadOptions:
    """How to read a scene.

    Attributes:
        allow_outside: follow paths in scene files that leave the scene's folder.
        cameras: read poses and intrinsics; without, they are None in all frames and not even checked.
        video_frames: how many frames of a video to choose, evenly in time.
        report: called with each frame whose picture, intrinsics or pose is wrong. If it returns, the frame
            stays without that picture (`image` is None), intrinsics or pose.
        progress: called as `progress(done, total)` while a video is decoded.
    """

    allow_outside: bool = False
    cameras: bool = True
    video_frames: int = VIDEO_FRAMES
    report: Callable[[ProblemKind, InputError], None] = refuse
    progress: Callable[[int, int], object] | None = None

    def attempt(self, kind: ProblemKind, read: Callable[[], Value]) -> Value | None:
        """The value read, or None if it is wrong and `report` returns."""
        try:
            return read()
        except InputError as error:
            self.report(kind, error)
            return None


class Source(ABC):
    """A format that scenes come in.

    Attributes:
        name: what `--format` calls it.
        description: one line for lists of formats.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether an existing file or folder looks like this format: cheap (names and first bytes), never raises."""

    def find(self, path: Path) -> list[SceneRef]:
        """All scenes in `path`, in a stable order; most formats hold one.

        Raises:
            InputError: if `path` cannot be read that far.
        """
        return [SceneRef(path, format=self.name)]

    def pick(self, path: Path, key: str) -> SceneRef:
        """The scene in `path` that has this key or, where scenes are files of their own, is called so.

        Raises:
            InputError: if there is none, or `path` cannot be read that far.
        """
        refs = self.find(path)
        found = next((ref for ref in refs if key == (ref.key or ref.path.stem)), None)
        if found is None:
            some = f", for instance {refs[0].key or refs[0].path.stem!r}" if refs else ""
            raise InputError(f"{path}: holds no scene {key!r}; it has {len(refs)}{some}")
        return found

    @abstractmethod
    def read(self, ref: SceneRef, options: ReadOptions) -> Scene:
        """Read one scene; pictures are decoded later.

        Raises:
            InputError: naming file, frame and key, if the scene cannot be used.
        """
