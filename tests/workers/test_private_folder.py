import stat
import tempfile
from pathlib import Path

import pytest

from tornado_sse.workers.private_folder import MARK, PREFIX, PrivateFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_nobody_else_can_read_it_and_it_goes_with_all_that_is_in_it() -> None:
    folder = PrivateFolder()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    file = folder.write("secret", b"one")
    assert folder.write("secret", b"2") == file
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"2", 0o600)
    folder.close()
    assert not folder.path.exists()


def test_what_a_killed_run_left_is_removed_and_nothing_else(temporary: Path) -> None:
    left, unmarked, other = (temporary / name for name in (PREFIX + "left", PREFIX + "unmarked", "other"))
    for folder in (left, unmarked, other):
        folder.mkdir()
    for folder in (left, other):
        (folder / MARK).touch()
    living = PrivateFolder()
    assert set(temporary.iterdir()) == {living.path, unmarked, other}
    second = PrivateFolder()
    assert living.path.exists()
    living.close()
    second.close()


def test_what_another_user_left_is_left(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = temporary / (PREFIX + "left")
    left.mkdir()
    (left / MARK).touch()
    monkeypatch.setattr("os.getuid", lambda: -1)
    PrivateFolder().close()
    assert left.exists()
