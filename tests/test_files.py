"""Files that are written whole or not at all."""

import errno
import os

import pytest
from matplotlib.figure import Figure

from zerodl_c import plot
from zerodl_c._files import replacing, try_to_write

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("before", [None, b"before"])
def test_the_new_takes_the_place_of_the_old(tmp_path, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with replacing(path) as file:
        file.write(b"after")
        file.flush()
        assert before == (path.read_bytes() if path.exists() else None)
    assert path.read_bytes() == b"after" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, b"before"])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt(), ValueError("a bug")])
def test_what_fails_changes_nothing(tmp_path, before, error):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(type(error)) as info, replacing(path) as file:
        file.write(b"half")
        raise error
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [before] * (before is not None)
    if isinstance(error, OSError):
        assert (info.value.errno, info.value.filename) == (errno.ENOSPC, str(path))


def test_two_at_a_time_beside_each_other(tmp_path):
    with replacing(tmp_path / "one") as one, replacing(tmp_path / "two") as two:
        one.write(b"1")
        two.write(b"2")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one": b"1", "two": b"2"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_rights_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with replacing(tmp_path / "file"):
        pass
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(("place", "number"), [(".", errno.EISDIR), ("nowhere/file", errno.ENOENT)])
def test_trouble_is_found_before(tmp_path, place, number):
    with pytest.raises(OSError) as info:
        try_to_write(tmp_path / place)
    assert (info.value.errno, info.value.filename) == (number, str(tmp_path / place))


def test_looking_for_trouble_changes_nothing(tmp_path):
    try_to_write(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_picture_is_written_whole_or_not_at_all(monkeypatch, tmp_path):
    def save_half(figure, file, **options):
        file.write(b"\x89PNG")
        raise FULL

    path = tmp_path / "curves.png"
    plot.learning_curves({"c": {"loss": [2.3, 0.9]}}, path)
    before = path.read_bytes()
    monkeypatch.setattr(Figure, "savefig", save_half)
    with pytest.raises(OSError, match=r"curves\.png"):
        plot.learning_curves({"c": {"loss": [2.3, 0.9]}}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
