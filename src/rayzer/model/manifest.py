"""The list of files of a training run's checkpoint, with their checksums and one of its own: any damage shows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rayzer.errors import InputError

MANIFEST = "manifest.json"
VERSION = 1
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # other errors may pass


def manifest_text(files: dict[str, str]) -> str:
    """The content of `manifest.json`, for the SHA-256 of every other file by name."""
    content = {"format": "rayzer training checkpoint", "version": VERSION, "files": files}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, sort_keys=True, indent=2) + "\n"


def read_manifest(folder: Path) -> dict[str, str]:
    """SHA-256 of every other file of a checkpoint, by name.

    Raises:
        InputError: if the manifest is missing or differs in a single byte from what was written.
        OSError: if it is there and cannot be read.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes().decode()
        files = json.loads(text)["files"]
        if text == manifest_text(files):
            return files
    except (*ABSENT, ValueError, LookupError, TypeError, RecursionError):
        pass  # as bad as a wrong checksum
    raise InputError(f"{path}: missing or damaged; take another checkpoint of the run")
