"""Training samples of several sources in fixed shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from rayzer.data.dataset import Draw, Sample, Sampled
from rayzer.errors import InputError


class Mixture:
    """Samples of several sources, each as if it were alone: a `Sampled`.

    Draws are dealt out by their running number, not at random. So every source has its share of any stretch of a run
    to within a few samples, and which of its own samples it has come to is known without counting from the beginning:
    it numbers them without gaps, and a list still shows every scene once an epoch.

    Args:
        parts: sources and their shares, which need not add up to 1; all must give pictures of one size.

    Raises:
        InputError: if there is no part, or a share is not positive.
    """

    def __init__(self, parts: Sequence[tuple[Sampled, float]]):
        if not parts:
            raise InputError("a mixture needs at least one source of samples")
        for _, share in parts:
            if not (share > 0 and math.isfinite(share)):
                raise InputError(f"share {share} of a mixture: must be a positive number; leave out what has none")
        self.sources = tuple(source for source, _ in parts)
        self._shares_of_rest = _shares_of_rest([share for _, share in parts])

    def sample(self, draw: Draw) -> Sample:
        """See `Sampled`."""
        part, number = self.place(draw.number)
        return self.sources[part].sample(replace(draw, number=number))

    def place(self, number: int) -> tuple[int, int]:
        """Which part makes sample `number` of the mixture, and which number it has among this part's own."""
        for part, share in enumerate(self._shares_of_rest):
            before = number * share.numerator // share.denominator  # of the first samples, so many are this part's
            if (number + 1) * share.numerator // share.denominator > before:
                return part, before
            number -= before  # the parts that follow share the rest, which has numbers of its own
        raise AssertionError("the last part takes all that is left")


def _shares_of_rest(shares: Sequence[float]) -> tuple[Fraction, ...]:
    """Each share as a part of itself and all that follow; exact, for decimal numbers as they are written."""
    exact = [Fraction(str(float(share))) for share in shares]
    return tuple(share / sum(exact[part:]) for part, share in enumerate(exact))
