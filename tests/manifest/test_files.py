from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.manifest import files as layout
from tests.conftest import ROOT


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An OUT with the demo's manifest and a few files for outputs."""
    out = tmp_path / "out"
    shutil.copytree(ROOT / "manifests/demo", out / "manifest")
    (out / "manifest/log.jsonl").write_text('{"event": "started"}\n')
    (out / "data/train").mkdir(parents=True)
    (out / "data/train/a.jpg").write_bytes(b"a")
    return out


def found(out: Path) -> set[tuple[str, str]]:
    problems = [*layout.check_layout(out, 2), *layout.check_kinds(out / "data")]
    return {(problem.kind, problem.path) for problem in problems}


def test_the_files_of_a_run_have_no_problem(out: Path) -> None:
    for name in ("README.md", "LICENSE", ".gitattributes", "croissant.json"):
        (out / name).write_text("x")
    (out / ".git").mkdir()
    assert found(out) == set()
    (out / ".git").rmdir()
    (out / ".git").write_text("gitdir: ../.git/worktrees/out")
    assert found(out) == set()
    (out / ".git").unlink()
    (out / ".git").symlink_to(out / "data")
    assert found(out) == {("extra", ".git")}
    (out / ".git").unlink()
    (out / "manifest/log.jsonl").unlink()
    assert found(out) == set()


@pytest.mark.parametrize(
    "path",
    [
        *("secret.txt", ".curate", "manifest/names.csv", "manifest/run.json.partial"),
        *("manifest/deep/run.json", "manifest/records/run.json", "manifest/records/log.jsonl"),
        *("manifest/records/part-00002.parquet", "manifest/records/part-0000x.parquet"),
        *("manifest/records/records/part-00000.parquet", "manifest/part-00000.parquet"),
    ],
)
def test_unknown_files_are_named(path: str, out: Path) -> None:
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_text("x")
    [(kind, named)] = found(out)
    assert kind == "extra"
    assert path.startswith(named)


def make_link(path: Path) -> None:
    path.symlink_to(Path(__file__))


@pytest.mark.parametrize("make", [os.mkfifo, make_link, Path.mkdir])
@pytest.mark.parametrize(
    "path",
    [
        *("README.md", "LICENSE", "manifest/run.json", "manifest/log.jsonl"),
        "manifest/records/part-00000.parquet",
    ],
)
def test_folders_and_links_named_like_files_are_named(
    path: str, make: Callable[[Path], None], out: Path
) -> None:
    (out / path).unlink(missing_ok=True)
    make(out / path)
    assert ("extra", path) in found(out)


@pytest.mark.parametrize("make", [os.mkfifo, make_link])
def test_data_has_files_and_folders_only(make: Callable[[Path], None], out: Path) -> None:
    make(out / "data/train/odd.jpg")
    assert found(out) == {("extra", "data/train/odd.jpg")}


@pytest.mark.parametrize("name", ["data", "manifest", ".git"])
def test_a_link_is_not_a_folder(name: str, out: Path, tmp_path: Path) -> None:
    if (out / name).exists():
        (out / name).rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "elsewhere").mkdir()
    (out / name).symlink_to(tmp_path / "elsewhere")
    assert ("extra", name) in {(p.kind, p.path) for p in layout.check_layout(out, 2)}


@pytest.mark.parametrize("content", ["x\n", "5\n", "{}\n[]\n", "\x89PNG\n", "[" * 100_000])
def test_an_invalid_log_is_named(content: str, out: Path) -> None:
    (out / "manifest/log.jsonl").write_text(content)
    assert found(out) == {("manifest", "manifest/log.jsonl")}


@pytest.mark.parametrize("name", ["data", "manifest"])
def test_a_missing_folder_is_named(name: str, out: Path) -> None:
    shutil.rmtree(out / name)
    problems = {(p.kind, p.path) for p in layout.check_layout(out, 2)}
    assert ("missing", name) in problems


@pytest.mark.parametrize(
    "path", ["", ".", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a", "a\0.jpg", "a/./b"]
)
def test_a_path_outside_data_or_not_normalized_is_refused(path: str) -> None:
    assert not layout.stays_inside(path)


@pytest.mark.parametrize("path", ["a.jpg", "train/a b/é.jpg", "..a/b..", "a\\xff.jpg", " "])
def test_a_plain_path_stays_inside(path: str) -> None:
    assert layout.stays_inside(path)
