import io

import pytest

from tornado_sse.cli.bench import progress


def test_bars_are_not_redrawn_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "monotonic", iter([1.0, 1.0, 1.05, 1.2, 1.2]).__next__)
    drawn: list[int] = []
    bars = progress.Progress(io.StringIO())
    bars.phase("x", 10)
    monkeypatch.setattr(bars._bar, "update", drawn.append)
    for done in (3, 5, 9):
        bars.reach(done)
    bars.close()
    assert drawn == [3, 6]
