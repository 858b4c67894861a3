from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate import Recipe, codec
from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, ManifestError, SetupError
from curate.engine.local import LocalPool
from curate.engine.shards import Shard
from curate.manifest import checks as verify
from curate.manifest import files as layout
from curate.manifest import store
from curate.manifest.files import Problem
from curate.manifest.schema import from_row
from curate.pipeline import environment
from curate.pipeline.verify_run import CheckJob

RECIPE = Recipe(profile="fast", shard_size=4)
PORTRAIT = "data/train/people/portrait.jpg"
GROUP = "data/train/people/group.png"


def problems(out: Path, source: Path | None = None) -> list[Problem]:
    return list(curate.iter_problems(out, source, workers=1))


def kinds(out: Path, source: Path | None = None) -> set[tuple[str, str]]:
    return {(problem.kind, problem.path) for problem in problems(out, source)}


def test_an_output_is_what_its_manifest_says(out: Path, photos: Path) -> None:
    assert problems(out, photos) == []


def delete(out: Path) -> None:
    (out / PORTRAIT).unlink()


def add(out: Path) -> None:
    shutil.copy(out / PORTRAIT, out / "data/train/people/zz.jpg")


def change(out: Path) -> None:
    data = bytearray((out / PORTRAIT).read_bytes())
    data[len(data) // 2] ^= 1
    (out / PORTRAIT).write_bytes(data)


def change_table(out: Path) -> None:
    (out / "data/labels.csv").write_text("other\n")


def add_beside(out: Path) -> None:
    (out / "secret.txt").write_text("x")


def add_to_manifest(out: Path) -> None:
    (out / "manifest/names.csv").write_text("x")


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (delete, ("missing", PORTRAIT)),
        (add, ("extra", "data/train/people/zz.jpg")),
        (change, ("changed", PORTRAIT)),
        (change_table, ("changed", "data/labels.csv")),
        (add_beside, ("extra", "secret.txt")),
        (add_to_manifest, ("extra", "manifest/names.csv")),
    ],
)
def test_differences_are_named(
    harm: Callable[[Path], None], expected: tuple[str, str], out: Path
) -> None:
    harm(out)
    assert expected in kinds(out)


def test_a_card_beside_the_data_is_no_problem(out: Path) -> None:
    (out / "README.md").write_text("a card")
    assert problems(out) == []


def replace_output(out: Path, path: str, data: bytes) -> None:
    """Put other bytes in an output and forge the manifest so that the digests fit."""
    (out / path).write_bytes(data)
    for part in store.iter_parts(out / "manifest/records"):
        rows = pq.read_table(part).to_pylist()
        for row in rows:
            if f"data/{row['output_path']}" == path:
                row["output_sha256"], row["output_bytes"] = store.digest_bytes(data), len(data)
                if row["pixels_sha256"] is not None:
                    row["pixels_sha256"] = codec.digest_pixels(codec.load(data))
        entries = [from_row(row) for row in rows]
        store.save_part(entries, part)
    run = store.load_run(out / "manifest")
    run["records"]["sha256"] = store.digest_parts(out / "manifest/records")
    store.save_json(run, out / "manifest/run.json")
    curate.write_checksums(out)


def test_the_source_instead_of_an_output_is_reported(out: Path, photos: Path) -> None:
    replace_output(out, GROUP, (photos / "train/people/group.png").read_bytes())
    assert problems(out) == []  # without SOURCE nothing can tell
    found = problems(out, photos)
    assert len(found) == 3
    assert {(p.kind, p.path) for p in found} == {("pixels", GROUP)}
    assert "still shows the source" in found[0].detail


def test_a_changed_background_is_reported(out: Path, photos: Path) -> None:
    pixels = np.array(Image.open(out / GROUP))
    pixels[0, -1] ^= 1
    Image.fromarray(pixels).save(out / "changed.png")
    data = (out / "changed.png").read_bytes()
    (out / "changed.png").unlink()
    replace_output(out, GROUP, data)
    [problem] = problems(out, photos)
    assert problem == Problem("pixels", GROUP, "pixels outside the masks differ from the source")


def test_a_leak_is_reported(out: Path, photos: Path) -> None:
    leaking = (out / PORTRAIT).read_bytes() + b"trailing"
    replace_output(out, PORTRAIT, leaking)
    assert kinds(out) == {("leak", PORTRAIT)}


def test_another_source_is_reported(out: Path, photos: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    shutil.copy(other / "val/coffee/coffee.jpg", other / "train/people/portrait.jpg")
    assert ("source", "train/people/portrait.jpg") in kinds(out, other)


@pytest.mark.parametrize(
    "keys", [("recipe", "seed"), ("recipe_sha256",), ("counts", "faces"), ("records", "sha256")]
)
def test_a_forged_run_is_reported(keys: tuple[str, ...], out: Path) -> None:
    path = out / "manifest/run.json"
    run = json.loads(path.read_text())
    inner = run
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = 7 if isinstance(inner[keys[-1]], int) else "0" * 64
    path.write_text(json.dumps(run))
    assert ("manifest", "manifest/run.json") in kinds(out)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("detectors", []),
        ("libraries", {"numpy": "1.0"}),
        ("tool", {"name": "curate-dataset", "version": "9"}),
        ("source", {"origin": "https://example.org", "layout": "imagefolder"}),
    ],
)
def test_facts_that_no_record_shows_are_covered(key: str, value: Any, out: Path) -> None:
    path = out / "manifest/run.json"
    run = json.loads(path.read_text())
    run[key] = run[key] | value if isinstance(value, dict) else value
    store.save_json(run, path)
    assert kinds(out) == {("changed", "manifest/run.json")}


@pytest.mark.parametrize("path", ["manifest/log.jsonl", "README.md", "croissant.json"])
def test_other_files_of_an_output_are_covered(path: str, out: Path) -> None:
    if not (out / path).exists():
        (out / path).write_text("{}")
        curate.write_checksums(out)
    with (out / path).open("a") as file:
        file.write("{}\n")
    assert ("changed", path) in kinds(out)


def test_images_of_the_source_that_the_output_lacks_are_reported(
    out: Path, photos: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    for name in ("a.jpg", "train/people/later.jpg", "zz/last.jpg"):
        (other / name).parent.mkdir(exist_ok=True)
        shutil.copy(photos / "val/coffee/coffee.jpg", other / name)
    found = [problem.path for problem in problems(out, other) if problem.kind == "source"]
    assert found == ["a.jpg", "train/people/later.jpg", "zz/last.jpg"]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_a_run_signs_its_manifest(photos: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "in").mkdir()
    shutil.copy(photos / "val/coffee/coffee.jpg", tmp_path / "in")
    with pytest.raises(DataError, match="does not exist"):
        curate.blur(tmp_path / "in", tmp_path / "out", RECIPE, sign=tmp_path / "none")
    curate.blur(tmp_path / "in", tmp_path / "out", RECIPE, sign=key, workers=1)
    checked = curate.verify(tmp_path / "out", signed_by=tmp_path / "key.pub", workers=1)
    assert checked.ok
    assert checked.coverage is not None
    assert checked.coverage.signature.trusted
    (tmp_path / "out/manifest/SHA256SUMS.sig").unlink()
    assert not curate.verify(tmp_path / "out", signed_by=tmp_path / "key.pub", workers=1).ok
    curate.blur(tmp_path / "in", tmp_path / "out", RECIPE, sign=key)  # finished before
    assert curate.verify(tmp_path / "out", signed_by=tmp_path / "key.pub", workers=1).ok


def test_a_face_outside_its_hidden_region_is_reported(out: Path) -> None:
    [part, *_] = [
        path
        for path in store.iter_parts(out / "manifest/records")
        if any(entry.faces for entry in store.iter_part(path))
    ]
    rows = pq.read_table(part).to_pylist()
    face = next(row["faces"][0] for row in rows if row["faces"])
    face["hidden_xyxy"][2] = face["hidden_xyxy"][0] + 1
    store.save_part([from_row(row) for row in rows], part)
    assert any("not inside its hidden" in problem.detail for problem in problems(out))


def test_a_folder_without_a_manifest_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"is not an output: manifest/run\.json is missing"):
        problems(tmp_path)


def test_an_output_that_cannot_be_checked_is_a_problem(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_leaks(data: bytes, options: object) -> list[str]:
        raise IndexError("a bug")

    monkeypatch.setattr(codec, "find_leaks", find_leaks)
    check = CheckJob(out / "manifest", str(out), None, "imagefolder", False, RECIPE).open()
    found = check(Shard(0, ()), lambda index, note: None)
    assert {problem.detail for problem in found} == {"the file cannot be checked (IndexError)"}


def test_lack_of_memory_ends_the_check(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*arguments: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(verify, "check_run", run_out)
    with pytest.raises(SetupError, match="memory"):
        problems(out)


NAMES = ["a.png", "é.png", "\ue000.png", "\ufffd.png", "😀.png", "😀/a.png"]


def test_images_of_any_name_keep_it_in_annotations_and_pass(tmp_path: Path) -> None:
    run = "9j_4AAQSkZJRgABAQAAAQABAAD_2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSw"
    deep = "/".join(["d" * 60] * 12)
    names = [
        f"{run}{run}.png",
        f"https%3A%2F%2Fcdn.example%2F{run}_n.jpg%3Fstp%3Ddst.png",
        f"{deep}/a.png",
        "a\x1bb.png",
        f"withheld-{run}{run}.png",
    ]
    source = tmp_path / "source"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), "teal").save(source / name, "PNG")
    (source / names[-1]).write_bytes((source / names[-1]).read_bytes()[:60])
    rows = [{"file_name": name, "url": f"https://example.org/{name}"} for name in names]
    lines = [json.dumps(row) + "\n" for row in rows]
    (source / "metadata.jsonl").write_text("".join(lines))
    summary = curate.blur(source, tmp_path / "out", RECIPE)
    assert (summary.written, summary.withheld) == (4, 1)
    assert summary.content["dropped"] == {}
    assert (tmp_path / "out/data/metadata.jsonl").read_text() == "".join(lines[:-1])
    assert problems(tmp_path / "out", source) == []


def test_names_in_any_script_are_in_order(tmp_path: Path) -> None:
    for name in NAMES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(path)
    (tmp_path / "photos/ü.csv").write_text("a\n")
    curate.blur(tmp_path / "photos", tmp_path / "out", replace(RECIPE, shard_size=1))
    assert problems(tmp_path / "out", tmp_path / "photos") == []
    entries = store.iter_entries(tmp_path / "out/manifest/records")
    assert len(list(entries)) == len(NAMES)


@pytest.mark.parametrize(
    "recipe", [{"method": "smudge"}, {"margin": -1}, {"keep_metadata": ["\x1b[2J"]}]
)
def test_a_recipe_that_cannot_be_read_is_one_clear_line(recipe: dict[str, Any], out: Path) -> None:
    forge_run(out, "recipe", recipe)
    with pytest.raises(ManifestError, match=r"^run\.json: recipe cannot be read") as caught:
        problems(out)
    assert str(caught.value).isprintable()


def test_a_recipe_that_leaves_out_its_defaults_is_reported(out: Path) -> None:
    recipe = store.load_run(out / "manifest")["recipe"]
    forge_run(out, "recipe", {key: recipe[key] for key in recipe if key != "seed"})
    assert problems(out) == [Problem("manifest", "manifest/run.json", "its recipe is not complete")]


def forge_run(out: Path, key: str, value: Any) -> None:
    path = out / "manifest/run.json"
    run = json.loads(path.read_text())
    run[key] = value
    path.write_text(json.dumps(run))
    curate.write_checksums(out)  # anyone who can write OUT can


def test_an_output_without_data_is_reported_with_its_missing_files(out: Path) -> None:
    shutil.rmtree(out / "data")
    found = kinds(out)
    assert {("missing", "data"), ("missing", PORTRAIT), ("missing", "data/labels.csv")} <= found


def test_an_output_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; give a folder"):
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
def test_a_pipe_is_named_without_blocking(path: str, out: Path) -> None:
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
def test_a_link_instead_of_an_output_is_reported(target: str, out: Path) -> None:
    (out / PORTRAIT).unlink()
    (out / PORTRAIT).symlink_to(target)
    assert {("extra", PORTRAIT), ("missing", PORTRAIT)} <= kinds(out)


@pytest.mark.parametrize("path", ["../../manifest/run.json", "/etc/hostname", "a/../labels.csv"])
def test_a_copied_path_outside_data_is_not_followed(path: str, out: Path) -> None:
    line = json.loads((out / "manifest/others.jsonl").read_text())
    (out / "manifest/others.jsonl").write_text(json.dumps(line | {"path": path}) + "\n")
    found = problems(out)
    assert ("manifest", "manifest/others.jsonl", f"lists the path {path!r}") in {
        (problem.kind, problem.path, problem.detail) for problem in found
    }
    assert not any("hostname" in problem.path for problem in found)


def test_an_added_or_removed_copied_file_is_reported(out: Path) -> None:
    with (out / "manifest/others.jsonl").open("a") as file:
        file.write(json.dumps({"path": "x.db", "carried": False, "reason": "why"}) + "\n")
    details = " ".join(problem.detail for problem in problems(out))
    assert "others.left_out is 1, but is recorded as 0" in details
    assert "others.sha256" in details


def edit_entries(
    out: Path, edit: Callable[[list[ManifestEntry]], list[ManifestEntry]]
) -> list[Problem]:
    """What is found once the entries of the first part are edited."""
    part = next(store.iter_parts(out / "manifest/records"))
    store.save_part(edit(list(store.iter_part(part))), part)
    return problems(out)


def test_two_entries_with_one_output_are_reported(out: Path) -> None:
    def edit(entries: list[ManifestEntry]) -> list[ManifestEntry]:
        first, second, *_ = (index for index, e in enumerate(entries) if e.output_path)
        entries[second] = replace(entries[second], output_path=entries[first].output_path)
        return entries

    assert any(
        "out of order or duplicated" in problem.detail for problem in edit_entries(out, edit)
    )


def test_an_output_listed_as_an_image_and_as_another_file_is_reported(out: Path) -> None:
    line = json.loads((out / "manifest/others.jsonl").read_text())
    path = PORTRAIT.removeprefix("data/")
    facts = {"sha256": store.digest_file(out / PORTRAIT), "path": path}
    facts["bytes"] = (out / PORTRAIT).stat().st_size
    (out / "manifest/others.jsonl").write_text(json.dumps(line | facts) + "\n")
    assert Problem("manifest", PORTRAIT, "is listed more than once") in problems(out)


def test_a_picture_in_the_text_of_a_manifest_is_reported(out: Path) -> None:
    picture = "iVBORw0KGgo" + "A" * 900
    (out / "manifest/log.jsonl").write_text(json.dumps({"event": picture}) + "\n")
    curate.write_checksums(out)
    assert kinds(out) == {("leak", "manifest/log.jsonl")}

    def edit(entries: list[ManifestEntry]) -> list[ManifestEntry]:
        return [replace(entries[0], category=picture), *entries[1:]]

    found = {(p.kind, p.path) for p in edit_entries(out, edit)}
    assert ("leak", "manifest/records/part-00000.parquet") in found


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "fill"), ("keeps", "all"), ("margin", 0.5), ("parameters", {"feather": 0.25})],
)
def test_a_method_that_is_not_the_recipes_is_reported(key: str, value: Any, out: Path) -> None:
    said = store.load_run(out / "manifest")["obfuscator"]
    forge_run(out, "obfuscator", said | {key: value})
    [problem] = problems(out)
    path = "parameters.feather" if key == "parameters" else key
    assert problem.detail.startswith(f"obfuscator.{path} is ")


def test_parts_are_read_in_worker_processes_first(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow aborts over some forged footers, and nobody could say a word then."""

    class Dying(LocalPool):
        def run(self, *arguments: Any) -> Any:
            raise SetupError("processes keep dying on shard 00000")

    monkeypatch.setattr(environment, "LocalPool", Dying)
    (out / "manifest/records/part-00000.parquet").write_bytes(b"PAR1 forged PAR1")
    with pytest.raises(SetupError, match="keep dying"):
        problems(out)


def test_bytes_between_the_columns_of_a_part_are_reported(out: Path) -> None:
    path = out / "manifest/records/part-00000.parquet"
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:footer] + b"a face" + data[footer:])
    leak = Problem(
        "leak", "manifest/records/part-00000.parquet", "it has bytes that belong to no column"
    )
    assert leak in problems(out)
