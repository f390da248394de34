"""Names of files and folders for many scenes: safe on every file system, and distinct."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rayzer.data.sources.source import SceneRef
from rayzer.errors import InputError

_MAX_BYTES = 120  # leaves room for numbers and suffixes; a name may have 255
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff<>:"/\\|?*#]')
_SAYS_NOTHING = ("images", "opencv_cameras", "scene", "transforms")  # names that every scene has


def scene_names(refs: Sequence[SceneRef]) -> list[str]:
    """A name for each scene, from its file or folder or its key.

    Where several are equal (upper and lower case do not count), the folder above goes in front
    ("1K_garden", "2K_garden"), and where that does not help, a number behind.
    """
    names = [_safe(plain_name(ref)) for ref in refs]
    often = Counter(map(_folded, names))
    names = [
        _safe(f"{_above(ref)}_{name}") if often[_folded(name)] > 1 else name
        for ref, name in zip(refs, names, strict=True)
    ]
    taken: set[str] = set()
    return [free_name(name, taken) for name in names]


def is_plain_name(name: str, ref: SceneRef) -> bool:
    """Whether `scene_names` gave a scene the name that it would have alone."""
    return name == _safe(plain_name(ref))


def plain_name(ref: SceneRef) -> str:
    """The name that a scene has from its key, or its file or folder."""
    return ref.key or _stem(ref.path)


def check_apart(out: Path, writes: Iterable[str], sources: Iterable[Path]) -> None:
    """Make sure that results neither replace what they are made of nor lie in the midst of it.

    Args:
        out: the output folder.
        writes: names of the entries of `out` that may be replaced.
        sources: files and folders that are read.

    Raises:
        InputError: naming the source that is in the way.
    """
    place = out.resolve()
    targets = {place / name for name in writes}
    for source in sources:
        folder = source.parent if source.suffix.lower() == ".json" else source  # pictures lie beside or below it
        inputs = {folder.resolve(), *folder.resolve().parents}
        if folder.resolve() in (place, *place.parents):
            raise InputError(f"{out}: lies in the input {source}; choose an output folder outside of it")
        if targets & inputs:
            raise InputError(f"{out}: results would replace the input {source}; choose another output folder")


def _stem(path: Path) -> str:
    path = path.absolute()
    stem = path.name if path.is_dir() else path.stem
    return path.parent.name if stem.casefold() in _SAYS_NOTHING else stem


def _above(ref: SceneRef) -> str:
    path = ref.path.absolute()
    if ref.key:
        return path.stem
    return (path.parent if path.stem.casefold() in _SAYS_NOTHING else path).parent.name


def _safe(name: str) -> str:
    name = _UNSAFE.sub("_", name).strip().encode()[:_MAX_BYTES].decode(errors="ignore").rstrip()
    return re.sub(r"^\.+|[. ]+$", "_", name) or "scene"  # neither hidden nor refused by Windows


def free_name(name: str, taken: set[str]) -> str:
    """`name`, or the first of `name-2`, `name-3`, ... that is not taken; takes it."""
    number, candidate = 1, name
    while _folded(candidate) in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(_folded(candidate))
    return candidate


def _folded(name: str) -> str:
    """Equal for names that some file systems take for one: in case, or in how accents are encoded."""
    return unicodedata.normalize("NFC", name.casefold())
