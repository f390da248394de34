"""The checkpoint that comes with the package, where one does."""

from __future__ import annotations

from pathlib import Path

from rayzer.data.strict_json import mentions
from rayzer.data.synthetic.rooms_v1.definition import NAME as BENCHMARK
from rayzer.data.synthetic.rooms_v1.generate import REPORT as BENCHMARK_REPORT
from rayzer.data.synthetic.writing import REPORT as ROOMS_REPORT
from rayzer.model.weights import CONFIG

FOLDER = Path(__file__).parents[1] / "assets" / "anyview-rooms"
NAME = "anyview-rooms, which comes with rayzer"
CAUTION = (
    "The weights that come with rayzer were trained on procedural rooms of 128x128 pixels and nothing else, so expect "
    'little of what they make of photos. Name others with --checkpoint (README, "Your own photos").'
)


def embedded_checkpoint() -> Path | None:
    """The checkpoint folder inside the package; None where this version has none."""
    return FOLDER if (FOLDER / CONFIG).is_file() else None


def shows_rooms(path: Path) -> bool:
    """Whether an input is one of the procedural rooms that `rayzer data synthesize` writes, packed or not."""
    known = ((ROOMS_REPORT, "rooms"), (BENCHMARK_REPORT, BENCHMARK))
    return any(mentions(folder / name, key) for folder in path.absolute().parents[:3] for name, key in known)
