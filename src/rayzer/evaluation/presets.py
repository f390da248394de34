"""Known benchmarks: which files they consist of, and how to get those."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rayzer.errors import InputError
from rayzer.files import is_file


@dataclass(frozen=True)
class Benchmark:
    """The files of a benchmark, by their paths in its folder.

    Attributes:
        scenes: the scene list.
        view_index: which frames are context and target.
        how: what to do to have them.
        counts: view indices with other numbers of context views.
        pairs: list of scenes of which each two in a row show one path.
    """

    scenes: str
    view_index: str
    how: str
    counts: tuple[str, ...] = ()
    pairs: str = ""

    def files(self, folder: Path) -> tuple[Path, Path, tuple[Path, ...], Path | None]:
        """Scenes, view index, those of the sweep, and pairs in a folder.

        Raises:
            InputError: naming the file that is missing and how to get it.
        """
        names = (self.scenes, self.view_index, *self.counts, *([self.pairs] if self.pairs else []))
        for name in names:
            if not is_file(folder / name):
                raise InputError(f"{folder / name}: not found; {self.how}")
        counts = tuple(folder / name for name in self.counts)
        return folder / self.scenes, folder / self.view_index, counts, folder / self.pairs if self.pairs else None


def _dl3dv(kind: str) -> Benchmark:
    index = f"rayzer_evaluation_index_dl3dv_{kind}.json"
    return Benchmark(
        scenes="scenes.txt",
        view_index=index,
        how="get DL3DV/DL3DV-Benchmark from the Hugging Face hub (its terms must be accepted), convert it with "
        f"`rayzer data convert`, list it with `rayzer data index`, and put {index} of the RayZer repository's data "
        "folder beside the list",
    )


BENCHMARKS = {
    "dl3dv_even": _dl3dv("even"),
    "dl3dv_random": _dl3dv("random"),
    "re10k": Benchmark(
        scenes="scenes.txt",
        view_index="evaluation_index_re10k.json",
        how="list the test chunks or clips with `rayzer data index` as scenes.txt, and put evaluation_index_re10k.json "
        "of the LVSM repository's data folder beside it (clips that lost frames do not fit it)",
    ),
    "rooms_v1": Benchmark(
        scenes="span-0.50.txt",
        view_index="views-08.json",
        how="make it with `rayzer data synthesize FOLDER --benchmark rooms-v1`",
        counts=tuple(f"views-{count:02d}.json" for count in (3, 4, 6, 12, 16)),
        pairs="pairs.txt",
    ),
}
