from __future__ import annotations

import json
import shutil
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
from curate.core.errors import ManifestError, SetupError
from curate.engine.shards import Shard
from curate.manifest import store, verify
from curate.manifest.problems import Problem
from curate.manifest.schema import from_row
from curate.pipeline.check import CheckJob

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
def test_what_differs_is_named(
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


def test_the_source_in_the_place_of_an_output_is_seen(out: Path, photos: Path) -> None:
    replace_output(out, GROUP, (photos / "train/people/group.png").read_bytes())
    assert problems(out) == []  # without SOURCE nothing can tell
    found = problems(out, photos)
    assert len(found) == 3
    assert {(p.kind, p.path) for p in found} == {("pixels", GROUP)}
    assert "still shows the source" in found[0].detail


def test_a_changed_background_is_seen(out: Path, photos: Path) -> None:
    pixels = np.array(Image.open(out / GROUP))
    pixels[0, -1] ^= 1
    Image.fromarray(pixels).save(out / "changed.png")
    data = (out / "changed.png").read_bytes()
    (out / "changed.png").unlink()
    replace_output(out, GROUP, data)
    [problem] = problems(out, photos)
    assert problem == Problem("pixels", GROUP, "pixels outside the masks are not the source's")


def test_a_leak_is_seen(out: Path, photos: Path) -> None:
    leaking = (out / PORTRAIT).read_bytes() + b"trailing"
    replace_output(out, PORTRAIT, leaking)
    assert kinds(out) == {("leak", PORTRAIT)}


def test_another_source_is_seen(out: Path, photos: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(photos, tmp_path / "other"))
    shutil.copy(other / "val/coffee/coffee.jpg", other / "train/people/portrait.jpg")
    assert ("source", "train/people/portrait.jpg") in kinds(out, other)


@pytest.mark.parametrize(
    "keys", [("recipe", "seed"), ("recipe_sha256",), ("counts", "faces"), ("records", "sha256")]
)
def test_a_forged_run_is_seen(keys: tuple[str, ...], out: Path) -> None:
    path = out / "manifest/run.json"
    run = json.loads(path.read_text())
    inner = run
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = 7 if isinstance(inner[keys[-1]], int) else "0" * 64
    path.write_text(json.dumps(run))
    assert ("manifest", "manifest/run.json") in kinds(out)


def test_a_face_outside_its_hidden_region_is_seen(out: Path) -> None:
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
    with pytest.raises(ManifestError, match="finished run"):
        problems(tmp_path)


def test_an_output_that_breaks_the_check_is_a_problem(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_leaks(data: bytes, options: object) -> list[str]:
        raise IndexError("a bug")

    monkeypatch.setattr(codec, "find_leaks", find_leaks)
    check = CheckJob(out, None, "imagefolder", False, RECIPE).open()
    found = check(Shard(0, ()), lambda index, note: None)
    assert {problem.detail for problem in found} == {"the file cannot be looked over (IndexError)"}


def test_want_of_memory_is_the_environments_fault(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*arguments: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(verify, "check_run", run_out)
    with pytest.raises(SetupError, match="memory"):
        problems(out)


NAMES = ["a.png", "é.png", "\ue000.png", "\ufffd.png", "😀.png", "😀/a.png"]


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
