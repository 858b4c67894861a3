from __future__ import annotations

import ast
import hashlib
import hmac
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import curate
from curate.core.entries import SURPLUS
from curate.core.errors import WITHHELD_CODES, ManifestError, UsageError
from curate.core.geometry import Box
from curate.core.known import OTHER
from curate.manifest import store
from curate.manifest.publish import (
    GRID,
    SCHEMA,
    describe_classes,
    keyed_id,
    load_key,
    public_reason,
    publish_manifest,
    round_to_grid,
    suppress,
)
from tests.conftest import ROOT


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "manifests/demo", tmp_path / "out/manifest")


def test_a_linker_with_the_originals_and_without_the_key_finds_nothing(
    sealed: Path, photos: Path, tmp_path: Path
) -> None:
    """By hash, by id, by a guessed key, by text, by order."""
    public = tmp_path / "public"
    publish_manifest(sealed, public)
    text = (public / "run.json").read_text() + str(
        pq.read_table(public / "records.parquet").to_pylist()
    )
    ids = pq.read_table(public / "records.parquet")["id"].to_pylist()
    entries = list(store.iter_entries(sealed / "records"))
    assert len(ids) == len(entries)
    guesses = [b"", b"curate", b"curate-dataset", bytes(32), b"0", b"key"]
    for entry in entries:
        path = photos / entry.source_path
        known = [entry.id.encode(), path.name.encode(), path.read_bytes()]
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            for data in known:
                assert hashlib.new(name, data).hexdigest() not in text
                for key in guesses:
                    assert hmac.new(key, data, name).hexdigest() not in text
        for word in (entry.source_sha256, entry.output_sha256, entry.pixels_sha256, path.name):
            assert word is None or word not in text
    run = store.load_run(sealed)
    for digest in (run["source"]["sha256"], run["records"]["sha256"], run["recipe_sha256"]):
        assert digest not in text
    key = load_key(sealed)
    assert ids == sorted(ids)
    assert ids != [keyed_id(key, entry.id) for entry in entries]
    assert set(ids) == {keyed_id(key, entry.id) for entry in entries}  # with the key it can be told


def test_the_order_of_public_records_does_not_follow_that_of_the_source(sealed: Path) -> None:
    """Over many keys the rank of an image's record is as good as random."""
    ids = [entry.id for entry in store.iter_entries(sealed / "records")]
    first = 0
    for seed in range(600):
        key = hashlib.sha256(str(seed).encode()).digest()
        ranked = sorted(ids, key=lambda name: keyed_id(key, name))
        first += ranked[0] == ids[0]
    # By chance 600/12 = 50, standard deviation 6.8.
    assert 25 < first < 75


def test_the_key_is_kept_and_gives_the_same_ids_again(sealed: Path, tmp_path: Path) -> None:
    publish_manifest(sealed, tmp_path / "a")
    publish_manifest(sealed, tmp_path / "b")
    names = ("run.json", "records.parquet")
    assert all(
        (tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names
    )
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(names)
    assert (sealed / "key.txt").stat().st_mode & 0o077 == 0
    (sealed / "key.txt").write_text("lost")
    with pytest.raises(ManifestError, match="is not a key"):
        publish_manifest(sealed, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_published_run_still_verifies_and_a_false_key_does_not(
    photos: Path, tmp_path: Path
) -> None:
    curate.blur(photos, tmp_path / "out", curate.Recipe(profile="fast"))
    publish_manifest(tmp_path / "out/manifest", tmp_path / "public")
    assert list(curate.iter_problems(tmp_path / "out", None, 1)) == []
    (tmp_path / "out/manifest/key.txt").write_text("x" * 64 + "\n")
    curate.write_checksums(tmp_path / "out")
    [problem] = curate.iter_problems(tmp_path / "out", None, 1)
    assert (problem.path, problem.detail) == (
        "manifest/key.txt",
        "is not a key of 64 hexadecimal digits",
    )


@pytest.mark.parametrize("place", ["out/public", "out/manifest/public", "out"])
def test_the_public_tier_is_kept_out_of_the_sealed_one(
    place: str, sealed: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"new folder|sealed output"):
        publish_manifest(sealed, tmp_path / place)


def test_the_columns_equal_the_documented_ones(sealed: Path, tmp_path: Path) -> None:
    publish_manifest(sealed, tmp_path / "public")
    page = (ROOT / "manifests/public-1.md").read_text()
    documented = re.findall(r"^\| `([\w.]+)` \| (\S+) \|", page, re.M)
    assert [name for name, _ in documented] == SCHEMA.names
    table = pq.read_table(tmp_path / "public/records.parquet")
    assert table.schema.names == SCHEMA.names
    run = json.loads((tmp_path / "public/run.json").read_text())
    assert set(run) <= set(re.findall(r"`(\w+)`", page))
    assert run["records_sha256"] == store.digest_file(tmp_path / "public/records.parquet")


@given(
    st.floats(0, 500), st.floats(0, 500), st.floats(0.1, 200), st.floats(0.1, 200),
    st.integers(1, 700), st.integers(1, 700),
)  # fmt: skip
def test_boxes_are_rounded_outwards_to_the_grid(
    x: float, y: float, w: float, h: float, width: int, height: int
) -> None:
    box = Box(x, y, x + w, y + h)
    x0, y0, x1, y1 = round_to_grid(box, width, height)
    assert x0 <= max(min(box.x0, width), 0)
    assert x1 >= min(box.x1, width)
    assert y0 <= max(min(box.y0, height), 0)
    assert y1 >= min(box.y1, height)
    assert x0 % GRID == 0 or x0 == width
    assert x1 % GRID == 0 or x1 == width
    assert y0 % GRID == 0 or y0 == height
    assert y1 % GRID == 0 or y1 == height


@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 60), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_no_small_count_can_be_computed_by_subtraction(counts: dict[str, int], least: int) -> None:
    shown = suppress(counts, least)
    hidden = [name for name, count in shown.items() if count is None]
    assert all(count is None or count >= least for count in shown.values())
    if hidden:
        # What subtraction from the total gives is a sum of several cells, and no small one.
        rest = sum(counts[name] for name in hidden)
        assert len(hidden) == len(counts) or (len(hidden) > 1 and rest >= least)
    assert all(shown[name] in (None, count) for name, count in counts.items())


@pytest.mark.parametrize(
    ("names", "are_shown"),
    [
        (("jane-doe", "john-roe"), False),
        (("n01440764", "jane-doe"), False),
        (("n01440764", "n02102040", "-"), True),
        (("-",), True),
        (("xn01440764",), False),
        (("n01440764 jane",), False),
    ],
)
def test_names_of_classes_that_may_be_people_are_left_out(
    names: tuple[str, ...], are_shown: bool
) -> None:
    counts = Counter(dict.fromkeys(names, 12))
    assert describe_classes(counts, 10, class_names=True) == dict.fromkeys(names, 12)
    expected = dict.fromkeys(names, 12) if are_shown else None
    assert describe_classes(counts, 10, class_names=False) == expected


def test_the_public_tier_of_a_dataset_of_people_names_none(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for name in ("jane-doe", "john-roe"):
        (source / "train" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (40, 30), (9 * number, 90, 9)).save(
                source / f"train/{name}/{number}.png"
            )
    recipe = curate.Recipe(profile="fast", drop_keys=("key:jane", "exif"), include=("john*",))
    curate.blur(source, out, recipe, curate.Session(workers=1))
    run = publish_manifest(out, tmp_path / "public")
    assert run["images_by_category"] is None
    for file in (tmp_path / "public").iterdir():
        assert not re.search(rb"jane|john", file.read_bytes())
    named = publish_manifest(out, tmp_path / "named", 2, class_names=True)
    assert named["images_by_category"] == {"jane-doe": 2, "john-roe": 2}


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("truncated: it ends", "truncated"),
        ("withdrawn: on request", "withdrawn"),
        ("not-looked-at: anna-schmidt", "not-looked-at"),
        ("anna-schmidt: asked for removal", "other"),
        ("Anna Schmidt asked for removal", "other"),
        ("truncated Anna", "other"),
        (SURPLUS, SURPLUS),
        ("n10084635: offensive", "n10084635"),
        ("Anna_Schmidt: offensive", "other"),
    ],
)
def test_a_public_reason_is_one_of_ours(reason: str, shown: str) -> None:
    assert public_reason(reason) == shown


def test_reasons_of_a_file_of_faces_are_not_published(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "source").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "source/a.png")
    (tmp_path / "source/b.png").write_bytes((tmp_path / "source/a.png").read_bytes())
    rows = [
        {"id": "a.png", "faces": None, "reason": "anna-schmidt: asked for removal"},
        {"id": "b.png", "faces": [], "reason": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "faces.parquet")
    session = curate.Session(workers=1, faces=tmp_path / "faces.parquet")
    curate.blur(tmp_path / "source", tmp_path / "out", session=session, quiet=True)
    publish_manifest(tmp_path / "out", tmp_path / "public")
    table = pq.read_table(tmp_path / "public/records.parquet")
    assert sorted(table["reason"].to_pylist(), key=str) == [None, "other"]
    assert b"anna" not in b"".join(p.read_bytes() for p in (tmp_path / "public").iterdir())


def test_every_code_of_a_reason_is_known() -> None:
    calls = (
        call
        for path in (ROOT / "curate").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args
    )
    codes = {
        each.value
        for call in calls
        if call.func.id in ("WithheldError", "to_withheld")  # type: ignore[attr-defined]
        for each in [call.args[0 if call.func.id == "WithheldError" else -2 :][0]]  # type: ignore[attr-defined]
        if isinstance(each, ast.Constant)
    }
    assert len(codes) > 10
    assert codes <= WITHHELD_CODES


CANARY = "CANARY John Smith, 52.37 N"


def give_faces(sealed: Path, models: list[dict[str, Any]], given: dict[str, Any]) -> None:
    run = json.loads((sealed / "run.json").read_text())
    (sealed / "run.json").write_text(json.dumps(run | {"detectors": models, "given_faces": given}))


def review(**other: Any) -> dict[str, Any]:
    states = {"reviewed": 2**62, "sampled": 1, "not looked at": 0}
    return {
        "id": CANARY,
        "task": "sample",
        "blind": True,
        "reviewers": 2**62,
        "states": states,
        "journal_sha256": "5" * 64,
        **other,
    }


@pytest.mark.parametrize("key", ["name", "package", "version", "backend", "file of weights"])
@pytest.mark.parametrize("text", [CANARY, "john", "9" * 30, "1.2.3 john", "onnxruntime john"])
def test_models_of_a_file_of_faces_are_published_by_known_names_only(
    key: str, text: str, sealed: Path, tmp_path: Path
) -> None:
    [*models] = json.loads((sealed / "run.json").read_text())["detectors"]
    for model in models:
        if key == "file of weights":
            model["weights_sha256"] |= {text: "5" * 64}
        else:
            model[key] = text
    give_faces(sealed, models * 20, {"recipe": {"detector": text, "profile": text}, "reviews": []})
    publish_manifest(sealed, tmp_path / "public")
    public = json.loads((tmp_path / "public/run.json").read_text())
    assert text not in json.dumps([public["detectors"], public["given_faces"]])
    assert len(public["detectors"]) <= len(models)
    assert public["given_faces"]["recipe"] == {"detector": OTHER, "profile": OTHER}


def test_known_models_and_reviews_of_a_file_of_faces_are_published(
    sealed: Path, tmp_path: Path
) -> None:
    run = json.loads((sealed / "run.json").read_text())
    reviews = [review(), review(task=CANARY)] * 20
    recipe = {"detector": "fusion", "profile": "fast", "confidence": 0.5, "device": "cpu"}
    give_faces(sealed, run["detectors"], {"recipe": recipe, "reviews": reviews})
    publish_manifest(sealed, tmp_path / "public")
    public = json.loads((tmp_path / "public/run.json").read_text())
    assert public["detectors"] == run["detectors"]
    assert public["given_faces"]["recipe"] == recipe
    found = public["given_faces"]["reviews"]
    assert len(found) == 16
    assert {each["task"] for each in found} == {"sample", OTHER}
    images = run["counts"]["images"]
    states = {"reviewed": images, "sampled": 1, "not looked at": 0}
    assert found[0] == {"task": "sample", "blind": True, "reviewers": 1000, "states": states}
    assert "CANARY" not in json.dumps(public)
