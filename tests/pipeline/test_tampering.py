from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, ManifestError, SetupError
from curate.engine.local import LocalPool
from curate.manifest import layout, store
from curate.manifest.problems import Problem
from curate.pipeline import check

PORTRAIT = "data/train/people/portrait.jpg"


def problems(out: Path, source: Path | None = None) -> list[Problem]:
    return list(curate.iter_problems(out, source, workers=1))


def kinds(out: Path, source: Path | None = None) -> set[tuple[str, str]]:
    return {(problem.kind, problem.path) for problem in problems(out, source)}


@pytest.mark.parametrize(
    "recipe", [{"method": "smudge"}, {"margin": -1}, {"keep_metadata": ["\x1b[2J"]}]
)
def test_a_recipe_that_cannot_be_read_is_one_clear_line(recipe: dict[str, Any], out: Path) -> None:
    forge_run(out, "recipe", recipe)
    with pytest.raises(ManifestError, match=r"^run\.json: recipe cannot be read") as caught:
        problems(out)
    assert str(caught.value).isprintable()


def test_a_recipe_that_leaves_out_its_defaults_is_seen(out: Path) -> None:
    recipe = store.load_run(out / "manifest")["recipe"]
    forge_run(out, "recipe", {key: recipe[key] for key in recipe if key != "seed"})
    assert problems(out) == [
        Problem("manifest", "manifest/run.json", "its recipe is not written in full")
    ]


def forge_run(out: Path, key: str, value: Any) -> None:
    path = out / "manifest/run.json"
    run = json.loads(path.read_text())
    run[key] = value
    path.write_text(json.dumps(run))


def test_an_out_without_data_names_it_and_what_is_missing(out: Path) -> None:
    shutil.rmtree(out / "data")
    found = kinds(out)
    assert {("missing", "data"), ("missing", PORTRAIT), ("missing", "data/labels.csv")} <= found


def test_an_out_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not a folder"):
        problems(tmp_path / "file")


def test_a_folder_that_cannot_be_listed_is_one_clear_line(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "people":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(layout.os, "scandir", refuse)
    with pytest.raises(SetupError, match=r"people cannot be read: Permission denied"):
        problems(out)


@pytest.mark.parametrize(
    "path",
    [
        *(PORTRAIT, "data/labels.csv", "data/train/new.jpg", "README.md", "LICENSE"),
        *("manifest/new", "manifest/log.jsonl"),
    ],
)
def test_a_pipe_is_named_and_nobody_waits_for_it(path: str, out: Path) -> None:
    (out / path).unlink(missing_ok=True)
    os.mkfifo(out / path)
    assert ("extra", path) in kinds(out)


@pytest.mark.parametrize(
    "path", ["manifest/run.json", "manifest/others.jsonl", "manifest/records/part-00000.parquet"]
)
def test_a_manifest_that_is_a_pipe_is_one_clear_line(path: str, out: Path) -> None:
    (out / path).unlink()
    os.mkfifo(out / path)
    with pytest.raises(ManifestError, match="not a regular file"):
        problems(out)


def test_a_source_that_is_a_pipe_is_named(out: Path, photos: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    (other / "train/people/portrait.jpg").unlink()
    os.mkfifo(other / "train/people/portrait.jpg")
    assert ("source", "train/people/portrait.jpg") in kinds(out, other)


@pytest.mark.parametrize("target", ["portrait_gps.jpg", "/etc/hostname", "nowhere"])
def test_a_link_in_the_place_of_an_output_is_seen(target: str, out: Path) -> None:
    (out / PORTRAIT).unlink()
    (out / PORTRAIT).symlink_to(target)
    assert {("extra", PORTRAIT), ("missing", PORTRAIT)} <= kinds(out)


@pytest.mark.parametrize("path", ["../../manifest/run.json", "/etc/hostname", "a/../labels.csv"])
def test_a_carried_path_that_leaves_data_is_not_followed(path: str, out: Path) -> None:
    line = json.loads((out / "manifest/others.jsonl").read_text())
    (out / "manifest/others.jsonl").write_text(json.dumps(line | {"path": path}) + "\n")
    found = problems(out)
    assert ("manifest", "manifest/others.jsonl", f"names the path {path!r}") in {
        (problem.kind, problem.path, problem.detail) for problem in found
    }
    assert not any("hostname" in problem.path for problem in found)


def test_a_carried_file_more_or_less_is_counted(out: Path) -> None:
    with (out / "manifest/others.jsonl").open("a") as file:
        file.write(json.dumps({"path": "x.db", "carried": False, "reason": "why"}) + "\n")
    details = " ".join(problem.detail for problem in problems(out))
    assert "others.left_out is 1, but says 0" in details
    assert "others.sha256" in details


def edit_entries(
    out: Path, edit: Callable[[list[ManifestEntry]], list[ManifestEntry]]
) -> list[Problem]:
    """What is found once the entries of the first part are edited."""
    part = next(store.iter_parts(out / "manifest/records"))
    store.save_part(edit(list(store.iter_part(part))), part)
    return problems(out)


def test_two_entries_with_one_output_are_seen(out: Path) -> None:
    def edit(entries: list[ManifestEntry]) -> list[ManifestEntry]:
        first, second, *_ = (index for index, e in enumerate(entries) if e.output_path)
        entries[second] = replace(entries[second], output_path=entries[first].output_path)
        return entries

    assert any("out of order or double" in problem.detail for problem in edit_entries(out, edit))


def test_one_output_that_is_an_image_and_a_carried_file_is_seen(out: Path) -> None:
    line = json.loads((out / "manifest/others.jsonl").read_text())
    path = PORTRAIT.removeprefix("data/")
    facts = {"sha256": store.digest_file(out / PORTRAIT), "path": path}
    facts["bytes"] = (out / PORTRAIT).stat().st_size
    (out / "manifest/others.jsonl").write_text(json.dumps(line | facts) + "\n")
    assert Problem("manifest", PORTRAIT, "is listed more than once") in problems(out)


def test_a_picture_in_the_text_of_a_manifest_is_seen(out: Path) -> None:
    picture = "iVBORw0KGgo" + "A" * 400
    (out / "manifest/log.jsonl").write_text(json.dumps({"event": picture}) + "\n")
    assert kinds(out) == {("leak", "manifest/log.jsonl")}

    def edit(entries: list[ManifestEntry]) -> list[ManifestEntry]:
        return [replace(entries[0], category=picture), *entries[1:]]

    found = {(p.kind, p.path) for p in edit_entries(out, edit)}
    assert ("leak", "manifest/records/part-00000.parquet") in found


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "fill"), ("keeps", "all"), ("margin", 0.5), ("parameters", {"feather": 0.25})],
)
def test_a_method_that_is_not_the_recipes_is_seen(key: str, value: Any, out: Path) -> None:
    said = store.load_run(out / "manifest")["obfuscator"]
    forge_run(out, "obfuscator", said | {key: value})
    [problem] = problems(out)
    assert problem.detail.startswith(f"obfuscator.{key} is ")


def test_a_part_is_opened_where_the_end_of_a_process_is_survived_before_it_is_opened_here(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow aborts over some forged footers, and nobody could say a word then."""

    class Dying(LocalPool):
        def run(self, *arguments: Any) -> Any:
            raise SetupError("processes keep dying on shard 00000")

    monkeypatch.setattr(check, "LocalPool", Dying)
    (out / "manifest/records/part-00000.parquet").write_bytes(b"PAR1 forged PAR1")
    with pytest.raises(SetupError, match="keep dying"):
        problems(out)


def test_bytes_between_the_columns_of_a_part_are_seen(out: Path) -> None:
    path = out / "manifest/records/part-00000.parquet"
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:footer] + b"a face" + data[footer:])
    leak = Problem(
        "leak", "manifest/records/part-00000.parquet", "it has bytes that belong to no column"
    )
    assert leak in problems(out)
