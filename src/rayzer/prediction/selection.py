"""Which photos a model gets to see, and which of them are held out to check it."""

from __future__ import annotations

from dataclasses import dataclass

from rayzer.data.views import evenly_spaced


@dataclass(frozen=True)
class Selection:
    """Photos in the order in which the model sees them.

    Attributes:
        indices: position of each view's photo in the scene; a photo may come more than once.
        targets: positions among the views of those that are held out, ascending; the others are context.
    """

    indices: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def context(self) -> tuple[int, ...]:
        """Positions among the views of those that the scene is made from."""
        return tuple(view for view in range(len(self.indices)) if view not in self.targets)

    @property
    def repeated(self) -> tuple[bool, ...]:
        """For each view, whether its photo is another view too."""
        return tuple(self.indices.count(index) > 1 for index in self.indices)


def select_views(available: int, context: int, targets: int, any_number: bool = False) -> Selection:
    """Choose photos evenly for a model that was trained with `context` + `targets` views.

    Args:
        available: number of photos, at least 2.
        context, targets: the numbers of views of the training.
        any_number: whether the model also takes fewer. Then too few photos are all used, once each, and as large a
            share of them is held out; else they are repeated evenly.
    """
    total = context + targets
    if any_number and available < total:
        total, targets = available, _held_out(available, targets, total)
    return Selection(tuple(evenly_spaced(total, available)), target_slots(total, targets))


def target_slots(total: int, targets: int) -> tuple[int, ...]:
    """Positions of the targets among `total` sorted views: evenly spread, never the first or the last.

    For 16 + 8 views these are the slots of the published evaluation on DL3DV: 2, 5, ..., 20, 22.
    """
    if targets == 0:
        return ()
    if targets > total - 2:
        raise ValueError(f"{targets} of {total} views cannot be held out: the first and the last are context")
    if 2 * targets > total:
        return tuple(1 + place for place in evenly_spaced(targets, total - 2))
    return tuple(min((k + 1) * total // targets - 1, total - 2) for k in range(targets))


def _held_out(available: int, targets: int, total: int) -> int:
    """How many of few photos are held out: the usual share, at least one, but never one of the last two."""
    return min(max(1, available * targets // total), available - 2)
