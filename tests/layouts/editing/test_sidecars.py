from __future__ import annotations

import io
from pathlib import Path

import pytest

from curate.layouts import open_source
from curate.layouts.editing import Outcome, open_editor
from curate.layouts.editing import sidecars as mentions
from tests.layouts.editing.outputs import Plan
from tests.layouts.examples.example import write


def notes(root: Path, *removed: str) -> dict[str, str | None]:
    source = open_source(str(root), "imagefolder")
    editor = open_editor(source, Plan(removed=frozenset(removed)))
    found = {}
    for other in source.sidecars():
        result = editor.edit(other, io.BytesIO())
        assert result.outcome is Outcome.SAME
        found[str(other.path)] = result.note
    return found


@pytest.mark.parametrize(
    "text",
    ["x/a.jpg,3", '{"file": "x\\\\a.jpg"}', "<f>a.jpg</f>", "'a.jpg'", "n;a.jpg;", "é/a.jpg\t"],
)
def test_a_file_that_names_a_removed_image_is_noted(tmp_path: Path, text: str) -> None:
    write(tmp_path, "x/a.jpg", b"")
    write(tmp_path, "b.jpg", b"")
    write(tmp_path, "labels.txt", text)
    line = "it is copied unchanged and may name removed images, such as 'a.jpg'"
    assert notes(tmp_path, "x/a.jpg") == {"labels.txt": line}
    assert notes(tmp_path, "b.jpg") == {"labels.txt": None}
    assert notes(tmp_path) == {"labels.txt": None}


def test_a_name_at_a_block_boundary_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mentions, "_BLOCK", 100)
    write(tmp_path, "picture.jpg", b"")
    for pad in range(85, 105):
        write(tmp_path, "labels.txt", "x" * (pad - 1) + " picture.jpg " + "y" * 300)
        assert notes(tmp_path, "picture.jpg")["labels.txt"], pad


def test_a_compressed_table_is_noted(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", b"")
    write(tmp_path, "labels.parquet", b"")
    assert notes(tmp_path) == {"labels.parquet": None}
    assert "may name images that were removed" in str(notes(tmp_path, "a.jpg")["labels.parquet"])
