from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from curate.core.errors import DataError, SourceChangedError
from curate.core.protocols import SidecarFile
from curate.layouts.access.folder import LocalFolder
from curate.layouts.hf_folder.read import HfFolder
from curate.pipeline import assembly as gathering
from curate.pipeline.other_files import write_other_files
from curate.pipeline.sidecar_summary import find_left_out
from curate.pipeline.sidecars import ANNOTATIONS, CAPTION, TABLE, rewrite_sidecars
from curate.pipeline.workspace import Workspace
from curate.recipe import Recipe
from tests.layouts.examples.example import accept_maps

PICTURE = '"iVBORw0KGgo' + "A" * 4000 + '"'
ROW = {"file_name": "deep/image.png", "text": "a dog"}
META = json.dumps(ROW) + "\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "metadata.jsonl").write_text(META)
    (folder / "README.md").write_text("# Dogs\n")
    (folder / "deep/image.png").touch()
    (folder / "deep/image.txt").write_text("a caption\n")
    (folder / "labels.csv").write_text("a,b\n")
    (folder / "labelme.json").write_text('{"shapes": []}')
    (folder / "clip.mp4").write_text("")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "out")
    made.prepare()
    gathering.gather(made, 0, loose=True)
    return made


def write_others(
    workspace: Workspace, source: Path | HfFolder, recipe: Recipe | None = None
) -> dict[str, int]:
    opened = HfFolder(LocalFolder(source)) if isinstance(source, Path) else source
    recipe = recipe or Recipe()
    sidecars = rewrite_sidecars(workspace, opened, recipe, accept_maps)
    counts = write_other_files(workspace, opened, sidecars, recipe)
    assert counts.pop("rebuilt") == 0
    return counts


def written(workspace: Workspace) -> set[str]:
    data = workspace.final / "data"
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


def listed(workspace: Workspace) -> dict[str, dict[str, Any]]:
    listing = workspace.final / "manifest/others.jsonl"
    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    assert [line["path"] for line in lines] == sorted(line["path"] for line in lines)
    return {line["path"]: line for line in lines}


def test_annotations_of_the_layout_are_written_and_all_other_files_listed(
    source: Path, workspace: Workspace
) -> None:
    assert write_others(workspace, source) == {"carried": 2, "included": 0, "left_out": 4}
    assert written(workspace) == {"metadata.jsonl", "README.md"}
    reasons = {path: line.get("reason") for path, line in listed(workspace).items()}
    assert reasons == {
        "README.md": None,
        "clip.mp4": "not an annotation of hf_folder",
        "deep/image.txt": CAPTION,
        "labelme.json": ANNOTATIONS,
        "labels.csv": TABLE,
        "metadata.jsonl": None,
    }
    assert not list(workspace.staging.rglob("*.txt"))


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("*.json",), {"labelme.json"}),
        (("deep/*",), {"deep/image.txt"}),
        (("image.txt", "labels.csv"), {"deep/image.txt", "labels.csv"}),
        (("*",), {"clip.mp4", "deep/image.txt", "labelme.json", "labels.csv"}),
        (("*.TXT", "x*"), set()),
    ],
)
def test_included_files_are_copied_unread(
    patterns: tuple[str, ...], names: set[str], source: Path, workspace: Workspace
) -> None:
    (source / "hidden.csv").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    write_others(workspace, source, Recipe(include=patterns))
    assert names <= written(workspace)
    lines = listed(workspace)
    assert {path for path, line in lines.items() if line.get("included")} >= names
    assert "hidden.csv" not in lines  # an image by its first bytes, whatever its name
    assert not (workspace.final / "data/hidden.csv").exists()
    for name in names:
        assert (workspace.final / "data" / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize("patterns", [(), ("*.json",), ("*",)])
def test_files_that_contain_images_are_left_out_with_the_reason(
    patterns: tuple[str, ...], source: Path, workspace: Workspace
) -> None:
    (source / "labelme.json").write_text(f'{{"imageData": {PICTURE}}}')
    write_others(workspace, source, Recipe(include=patterns))
    line = listed(workspace)["labelme.json"]
    assert line["reason"].startswith("it contains images, as a text with encoded ones")
    assert "labelme.json" not in written(workspace)
    assert find_left_out([("labelme.json", line["reason"])])[1][0].endswith("labelme.json")


def test_the_checked_copy_is_the_one_in_the_output(source: Path, workspace: Workspace) -> None:
    """A file that changes while it is read is written from what was read."""

    class Changing(HfFolder):
        def open_sidecar(self, file: SidecarFile) -> BinaryIO:
            (source / file.uri).write_text(json.dumps({**ROW, "x": PICTURE}) + "\n")
            return super().open_sidecar(file)

    with suppress(DataError):  # the README is one no longer
        write_others(workspace, Changing(LocalFolder(source)))
    assert PICTURE not in (workspace.final / "data/metadata.jsonl").read_text()


def test_a_later_attempt_removes_copies_of_files_that_source_no_longer_has(
    source: Path, workspace: Workspace
) -> None:
    write_others(workspace, source)
    image = workspace.final / "data/deep/image.png"
    image.parent.mkdir()
    image.touch()
    (source / "README.md").unlink()
    workspace.prepare()
    assert write_others(workspace, source) == {"carried": 1, "included": 0, "left_out": 4}
    assert written(workspace) == {"deep/image.png", "metadata.jsonl"}


@pytest.mark.parametrize("moment", range(6))
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
        write_others(workspace, source)
    for name in ("metadata.jsonl", "README.md"):
        (source / name).unlink()
    workspace.prepare()
    assert write_others(workspace, source) == {"carried": 0, "included": 0, "left_out": 4}
    assert written(workspace) == set()


def test_a_deleted_annotation_ends_the_run(source: Path, workspace: Workspace) -> None:
    class Vanishing(HfFolder):
        def open_sidecar(self, file: SidecarFile) -> BinaryIO:
            (source / file.uri).unlink()
            return super().open_sidecar(file)

    with pytest.raises(SourceChangedError, match=r"README\.md"):
        write_others(workspace, Vanishing(LocalFolder(source)))


@pytest.mark.parametrize("name", ["metadata.jsonl", "README.md"])
def test_a_file_that_cannot_be_read_is_an_error_if_the_layout_needs_it(
    name: str, source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuse(path: Path, flags: int, *rest: int, **more: Any) -> int:
        if Path(path) == source / name:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    if name == "metadata.jsonl":
        with pytest.raises(DataError, match=r"Permission denied.*--include 'metadata.jsonl'"):
            write_others(workspace, source)
        return
    write_others(workspace, source)
    assert listed(workspace)[name]["reason"] == "it cannot be read: Permission denied"


def test_all_files_that_cannot_be_parsed_are_named_in_one_line(
    source: Path, workspace: Workspace
) -> None:
    for name in ("a", "b", "c"):
        (source / name).mkdir()
        (source / name / "metadata.jsonl").write_text(PICTURE[:-1])
    with pytest.raises(DataError, match=r"a/metadata.*b/metadata.*c/metadata") as caught:
        write_others(workspace, source)
    assert "\n" not in str(caught.value)
