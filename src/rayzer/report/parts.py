"""Small parts that every page has."""

from __future__ import annotations

from typing import Literal, NamedTuple

MODELS = {"rayzer": "RayZer", "anyview": "AnyViewRayZer", "lvsm": "LVSM"}
"""What people call the kinds of models."""


class Notice(NamedTuple):
    """Something the reader must know before believing the pictures."""

    level: Literal["info", "warning"]
    sentence: str


class Download(NamedTuple):
    """A file or folder that the command wrote, by its path relative to the page."""

    label: str
    path: str
    description: str


class Fact(NamedTuple):
    """One line of "how this was made"."""

    label: str
    value: str
