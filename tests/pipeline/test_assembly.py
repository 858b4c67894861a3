from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from curate.core.errors import SourceChangedError
from curate.core.protocols import SidecarFile
from curate.layouts.access.folder import LocalFolder
from curate.layouts.imagefolder import ImageFolder
from curate.pipeline import assembly as carrying
from curate.pipeline import assembly as gathering
from curate.pipeline.workspace import Workspace

PICTURE = '"iVBORw0KGgo' + "A" * 400 + '"'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "labels.csv").write_text("a,b\n")
    (folder / "deep/notes.txt").write_text("a note\n")
    (folder / "labelme.json").write_text(PICTURE)
    (folder / "clip.mp4").write_text("")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "out")
    made.prepare()
    gathering.gather(made, 0, loose=True)
    return made


def copy_other_files(workspace: Workspace, source: Path | ImageFolder) -> dict[str, int]:
    opened = ImageFolder(LocalFolder(source)) if isinstance(source, Path) else source
    counts = carrying.copy_other_files(workspace, opened)
    assert counts.pop("rebuilt") == 0
    return counts


def carried(workspace: Workspace) -> set[str]:
    data = workspace.final / "data"
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


def listed(workspace: Workspace) -> list[dict[str, Any]]:
    listing = workspace.final / "manifest/others.jsonl"
    return [json.loads(line) for line in listing.read_text().splitlines()]


def test_annotations_are_copied_and_all_other_files_listed(
    source: Path, workspace: Workspace
) -> None:
    counts = copy_other_files(workspace, source)
    assert counts == {"carried": 2, "left_out": 2}
    assert carried(workspace) == {"labels.csv", "deep/notes.txt"}
    reasons = {line["path"]: line.get("reason") for line in listed(workspace)}
    assert list(reasons) == ["clip.mp4", "deep/notes.txt", "labelme.json", "labels.csv"]
    assert reasons["clip.mp4"] == "not an annotation or image"
    assert "base64" in str(reasons["labelme.json"])
    assert reasons["labels.csv"] is None
    assert not list(workspace.staging.rglob("*.json"))


def test_the_checked_copy_is_the_one_in_the_output(source: Path, workspace: Workspace) -> None:
    """A file that changes while it is being copied is judged by its copy."""

    class Changing(ImageFolder):
        def open_sidecar(self, file: SidecarFile) -> BinaryIO:
            (source / file.uri).write_text(PICTURE)
            return super().open_sidecar(file)

    assert copy_other_files(workspace, Changing(LocalFolder(source))) == {
        "carried": 0,
        "left_out": 4,
    }
    assert carried(workspace) == set()


def test_a_later_attempt_removes_copies_of_files_that_source_no_longer_has(
    source: Path, workspace: Workspace
) -> None:
    copy_other_files(workspace, source)
    image = workspace.final / "data/deep/image.png"
    image.touch()
    shutil.rmtree(source / "deep")
    (source / "labels.csv").write_text(PICTURE)
    workspace.prepare()
    assert copy_other_files(workspace, source) == {"carried": 0, "left_out": 3}
    assert carried(workspace) == {"deep/image.png"}


@pytest.mark.parametrize("moment", range(4))
def test_an_attempt_interrupted_while_moving_files_is_undone(
    moment: int, source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, left = Path.rename, moment

    def killed(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        copy_other_files(workspace, source)
    for name in ("labels.csv", "deep/notes.txt"):
        (source / name).unlink()
    workspace.prepare()
    assert copy_other_files(workspace, source) == {"carried": 0, "left_out": 2}
    assert carried(workspace) == set()


def test_a_deleted_annotation_ends_the_run(source: Path, workspace: Workspace) -> None:
    class Vanishing(ImageFolder):
        def open_sidecar(self, file: SidecarFile) -> BinaryIO:
            (source / file.uri).unlink()
            return super().open_sidecar(file)

    with pytest.raises(SourceChangedError, match=r"notes\.txt"):
        copy_other_files(workspace, Vanishing(LocalFolder(source)))


def test_an_unreadable_annotation_is_left_out(
    source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse(path: Path, flags: int, *rest: int, **more: Any) -> int:
        if Path(path) == source / "labels.csv":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert copy_other_files(workspace, source) == {"carried": 1, "left_out": 3}
    reasons = {line["path"]: line.get("reason") for line in listed(workspace)}
    assert reasons["labels.csv"] == "it cannot be read: Permission denied"
