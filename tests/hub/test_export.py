"""`curate push --to`: the same tree, through the same gate, to a folder or an fsspec URL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import curate
from curate.core.errors import DataError, UsageError
from curate.publishing.hub.pull import verify_published
from tests.publishing.outs import make_out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_out(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "out")


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def export(out: Path, to: object, **options: object) -> curate.PushReport:
    return curate.push(out, None, curate.PushOptions(to=str(to), workers=1, **options))  # type: ignore[arg-type]


def test_a_folder_and_a_url_hold_the_same_tree_which_verifies(
    out: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    report = export(out, tmp_path / "tree")
    assert report.revision is None
    assert list(verify_published(str(tmp_path / "tree"), True, lambda _: None)) == []
    export(out, "memory://bucket/tree")
    for path, size in report.files.items():
        data = (tmp_path / "tree" / path).read_bytes()
        assert len(data) == size
        assert memory.cat(f"/bucket/tree/{path}") == data
    assert len(memory.find("/bucket/tree")) == len(report.files)


def test_an_export_goes_on_after_it_was_killed(out: Path, tmp_path: Path) -> None:
    report = export(out, tmp_path / "tree")
    half, missing, *_ = sorted(path for path in report.files if path.startswith("data/"))
    draft = (tmp_path / "tree" / half).rename(tmp_path / "tree" / f"{half}.partial")
    draft.write_bytes(b"half")
    (tmp_path / "tree" / missing).unlink()
    kept = tmp_path / "tree/croissant.json"
    before = kept.stat().st_mtime_ns
    export(out, tmp_path / "tree")
    assert kept.stat().st_mtime_ns == before
    assert list(verify_published(str(tmp_path / "tree"), True, lambda _: None)) == []


def test_the_gate_holds_for_an_export_too(out: Path, tmp_path: Path) -> None:
    path = next((out / "data").rglob("*.bmp"))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match="nothing was sent"):
        export(out, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_places_that_hold_something_else_are_left_alone(
    out: Path, tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/notes.txt").write_text("mine")
    memory.pipe("/bucket/notes.txt", b"mine")
    for place in (tmp_path / "theirs", "memory://bucket"):
        with pytest.raises(UsageError, match=r"holds 'notes\.txt', which is not a file of this"):
            export(out, place)
    with pytest.raises(UsageError, match="is a file; name a new folder"):
        export(out, tmp_path / "theirs/notes.txt")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("out/tree", "lies inside OUT"),
        ("out", "lies inside OUT"),
        ("s3://user:secret@bucket/x", "contains a user name, a password"),
        ("nosuch://bucket/x", "cannot be used"),
        ("file:///x", "is local; pass its path"),
    ],
)
def test_places_that_cannot_be_written_to_are_one_line(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as raised:
        export(out, place)
    assert "secret" not in str(raised.value)
    assert not (out / "tree").exists()
