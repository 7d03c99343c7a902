"""Whether memory grows: a line through samples, and how sure it is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, linear_regression

BLOCKS = 10
"""Parts of a run whose means the line goes through: samples that follow each other closely are no evidence."""

SURE = 2.896
"""Student's t for 99 %, one-sided, with BLOCKS - 2 degrees of freedom."""


@dataclass(frozen=True)
class Trend:
    """Growth in KiB a minute, give or take `error` (its standard error)."""

    slope: float
    error: float

    @property
    def is_flat(self) -> bool:
        """Whether this may be no growth at all."""
        return self.slope <= SURE * self.error

    def __str__(self) -> str:
        return f"{self.slope:+.1f} KiB a minute, give or take {SURE * self.error:.1f}"


def trend(samples: Sequence[tuple[float, float]]) -> Trend:
    """Find it in pairs of seconds and KiB, at least BLOCKS of them."""
    bounds = [round(block * len(samples) / BLOCKS) for block in range(BLOCKS + 1)]
    blocks = [samples[begin:end] for begin, end in pairwise(bounds)]
    minutes, sizes = ([fmean(sample[part] for sample in block) for block in blocks] for part in (0, 1))
    minutes = [second / 60 for second in minutes]
    slope, intercept = linear_regression(minutes, sizes)
    residue = sum((size - intercept - slope * minute) ** 2 for minute, size in zip(minutes, sizes, strict=True))
    middle = fmean(minutes)
    spread = sum((minute - middle) ** 2 for minute in minutes)
    return Trend(slope, sqrt(residue / (BLOCKS - 2) / spread))
