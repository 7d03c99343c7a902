"""When a soak says that memory grows."""

import random

import pytest

from soak_memory import Trend, trend


def samples(growth: float, noise: float, minutes: int = 30) -> list[tuple[float, float]]:
    """Give a sample a second: KiB that grow by `growth` a minute, with noise of up to so many."""
    rng = random.Random("noise")  # noqa: S311 - to be repeated
    return [(second, 50_000 + growth * second / 60 + rng.uniform(-noise, noise)) for second in range(minutes * 60)]


def test_a_line_without_noise_is_known_exactly() -> None:
    found = trend(samples(growth=6, noise=0))
    assert found.slope == pytest.approx(6)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert not found.is_flat


def test_noise_alone_is_no_growth() -> None:
    found = trend(samples(growth=0, noise=500))
    assert found.is_flat
    assert abs(found.slope) < 5


def test_growth_below_the_noise_of_a_sample_is_found() -> None:
    assert not trend(samples(growth=20, noise=500)).is_flat


def test_what_shrinks_does_not_grow() -> None:
    assert trend(samples(growth=-100, noise=1)).is_flat


def test_it_is_told_with_its_doubt() -> None:
    assert str(Trend(1.5, 1.0)) == "+1.5 KiB a minute, give or take 2.9"
