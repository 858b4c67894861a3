"""Files beside the images of a correction: what is edited, copied, left out, kept and reported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import curate
from curate import Recipe, Session
from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.report import Correction
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs
from curate.core.errors import DataError, UsageError
from curate.manifest import corrections, store
from curate.pipeline.verify import verify
from tests.contract.test_layouts import save_no_faces
from tests.layouts.examples.example import jpeg, write

ONE = Session(workers=1)
NAMES = "abcdef"
EMBEDDING = np.random.default_rng(3).normal(size=128).tolist()
ARRAY = b"\x93NUMPY\x01\0\x46\0{'descr': '<f4', 'fortran_order': False, 'shape': (512,), }"


def folder(root: Path) -> Path:
    """A plain folder of six images, each with a caption, features and values."""
    for number, name in enumerate(NAMES):
        write(root, f"{name}.jpg", jpeg(number))
        write(root, f"{name}.txt", f"a dog called {name}\n")
        write(root, f"{name}.npy", ARRAY + name.encode())
        value = {"caption": "A dog.", "exif": {"GPSLatitude": 48.1}, "embedding": EMBEDDING}
        write(root, f"{name}.json", json.dumps(value))
    write(root, "LICENSE", "MIT\n")
    write(root, "sales.csv", "shop,sold\nn,3\n")
    return root


def correct(source: Path, out: Path, strategy: str = "subset", **more: Any) -> Correction:
    """Correct a folder in which one image is of a group of its own."""
    table = out.with_suffix(".tsv")
    table.write_text("id\tgroup\n" + "".join(f"{n}.jpg\t{'xy'[n == 'b']}\n" for n in NAMES))
    options = BalanceOptions(strategy=strategy, by=("group",), tolerance=0.0, **more)
    inputs = BalanceInputs(groups=table, visible_faces=True)
    return rebalance(str(source), out, options, inputs, ONE, quiet=True)


def lines_of(out: Path) -> dict[str, dict[str, Any]]:
    listed = (out / "manifest/others.jsonl").read_text().splitlines()
    return {line["path"]: line for line in map(json.loads, listed)}


def kept(out: Path) -> list[str]:
    return sorted(path.stem for path in (out / "data").glob("*.jpg"))


def sound(out: Path) -> list[str]:
    return [str(problem) for problem in verify(out, None, 1).problems]


def blur(source: Path, out: Path, recipe: Recipe) -> Path:
    faces = save_no_faces([f"{name}.jpg" for name in NAMES], out.with_suffix(".parquet"))
    curate.blur(source, out, recipe, Session(faces=faces, workers=1), quiet=True)
    return out


def test_what_belongs_to_an_image_goes_with_it_and_the_rest_is_named(tmp_path: Path) -> None:
    done = correct(folder(tmp_path / "source"), out := tmp_path / "out")
    assert len(kept(out)) == 2
    for name in NAMES:
        caption = out / f"data/{name}.txt"
        assert caption.exists() == (name in kept(out))
        value = json.loads((out / f"data/{name}.json").read_text()) if name in kept(out) else {}
        assert value in ({}, {"caption": "A dog."})
    assert (out / "data/LICENSE").read_text() == "MIT\n"
    assert not list((out / "data").glob("*.npy")) + list((out / "data").glob("*.csv"))
    facts = corrections.load_facts(out / "manifest")
    assert facts["content"]["dropped"] == {
        f"{name}.json": {"embedding": 1, "exif": 1} for name in kept(out)
    }
    assert facts["content"]["found"][f"{kept(out)[0]}.json"] == {"text": {"caption": 1}}
    text = done.to_text()
    assert "  left out: a.npy, b.npy, c.npy, d.npy, e.npy, f.npy, sales.csv\n" in text
    assert "6 × a file with the stem of an image, such as a.npy: --include '*.npy' copies" in text
    assert "1 × a table beside the images, such as sales.csv: --include '*.csv'" in text
    assert "its image was removed" not in text
    assert "a.txt" not in text
    assert "text: caption (2)" in text
    assert "Left out of the annotations: " in text
    assert sound(out) == []
    assert correct(tmp_path / "source", out).files == done.files  # finished before


def test_included_files_are_unread_and_still_go_with_their_image(tmp_path: Path) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "out"
    more = {"target": "uniform", "include": ("*.npy", "*.json")}
    correct(source, out, "oversample", **more)
    assert [path.name for path in sorted((out / "data").glob("b_aug?.npy"))] == [
        f"b_aug{number}.npy" for number in range(1, 5)
    ]
    for suffix in ("npy", "json"):
        wanted = (source / f"b.{suffix}").read_bytes()
        assert (out / f"data/b.{suffix}").read_bytes() == wanted
        assert (out / f"data/b_aug1.{suffix}").read_bytes() == wanted
    lines = lines_of(out)
    assert lines["b.npy"]["included"]
    assert lines["b_aug1.npy"]["included"]
    others = corrections.load_facts(out / "manifest")["others"]
    assert others["included"] == sum(line.get("included", False) for line in lines.values()) == 20
    assert sound(out) == []
    correct(source, tmp_path / "less", include=("*.npy",))
    assert sorted(path.stem for path in (tmp_path / "less/data").glob("*.npy")) == kept(
        tmp_path / "less"
    )


def test_what_the_run_that_wrote_source_kept_is_kept(tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    recipe = Recipe(include=("*.npy",), drop_keys=("exif",))
    blurred = blur(source, tmp_path / "blurred", recipe)
    correct(blurred, tmp_path / "out")
    recipe_of = corrections.load_facts(tmp_path / "out/manifest")["recipe"]
    assert (recipe_of["include"], recipe_of["drop_keys"]) == (["*.npy"], ["exif"])
    assert len(list((tmp_path / "out/data").glob("*.npy"))) == 2
    correct(tmp_path / "out", tmp_path / "again", drop_keys=("gps",), include=("*.txt",))
    recipe_of = corrections.load_facts(tmp_path / "again/manifest")["recipe"]
    assert (recipe_of["include"], recipe_of["drop_keys"]) == (["*.npy", "*.txt"], ["gps"])
    for out in ("out", "again"):
        assert sound(tmp_path / out) == []


def test_embeddings_are_kept_if_nothing_is_to_be_dropped(tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    correct(source, tmp_path / "out", drop_keys=())
    [name, _] = kept(tmp_path / "out")
    assert json.loads((tmp_path / f"out/data/{name}.json").read_text()) == json.loads(
        (source / f"{name}.json").read_text()
    )
    facts = corrections.load_facts(tmp_path / "out/manifest")
    assert set(facts["content"]["found"][f"{name}.json"]) >= {"embeddings", "exif"}
    with pytest.raises(UsageError, match="drop_keys"):
        correct(source, tmp_path / "out")


def yolo(root: Path) -> Path:
    for number, name in enumerate(NAMES):
        write(root, f"images/{name}.jpg", jpeg(number))
        write(root, f"labels/{name}.txt", "0 0.5 0.5 0.2 0.1\n")
    write(root, "classes.txt", "dog\n" + "x1Y" * 50 + "\n")
    return root


def test_annotations_that_cannot_be_written_are_an_error_before_any_work(tmp_path: Path) -> None:
    source, out = yolo(tmp_path / "source"), tmp_path / "out"
    table = tmp_path / "groups.csv"
    table.write_text("id,group\n" + "".join(f"images/{n}.jpg,{'xy'[n == 'b']}\n" for n in NAMES))
    inputs = BalanceInputs(groups=table, visible_faces=True)
    options = BalanceOptions(strategy="subset", by=("group",), tolerance=0.0)
    for target in (out, None):
        with pytest.raises(DataError, match=r"classes\.txt is not a list of class names") as caught:
            rebalance(str(source), target, options, inputs, ONE, quiet=True)
        assert "\n" not in str(caught.value)
    assert not list(out.rglob("*.jpg"))
    [pattern] = re.findall(r"--include '(.+)'$", str(caught.value))
    options = BalanceOptions(strategy="subset", by=("group",), tolerance=0.0, include=(pattern,))
    rebalance(str(source), out, options, inputs, ONE, quiet=True)
    assert (out / "data/classes.txt").read_bytes() == (source / "classes.txt").read_bytes()
    assert sound(out) == []


def rewrite(out: Path, name: str, data: bytes) -> None:
    """Replace a file of an output, and its digests."""
    path = out / "data" / name
    before, size = store.digest_file(path), path.stat().st_size
    path.write_bytes(data)
    listing, facts = out / "manifest/others.jsonl", out / "manifest/balance.json"
    known = store.digest_file(listing)
    text = listing.read_text().replace(before, store.digest_file(path))
    listing.write_text(text.replace(f'"bytes": {size}', f'"bytes": {len(data)}'))
    facts.write_text(facts.read_text().replace(known, store.digest_file(listing)))


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"caption": "A dog.", "exif": {"GPSLatitude": 48.1}}),
        json.dumps({"caption": "A dog.", "thumbnail": "aB3" * 400}),
        json.dumps({"caption": "A dog.", "embedding": EMBEDDING}),
        "no JSON",
    ],
)
def test_verify_parses_the_files_again(data: str, tmp_path: Path) -> None:
    correct(folder(tmp_path / "source"), out := tmp_path / "out")
    name = f"{kept(out)[0]}.json"
    rewrite(out, name, data.encode())
    found = verify(out, None, 1).problems
    assert ("leak", f"data/{name}") in {(each.kind, each.path) for each in found}


def test_verify_compares_the_content_report(tmp_path: Path) -> None:
    correct(folder(tmp_path / "source"), out := tmp_path / "out")
    facts = out / "manifest/balance.json"
    facts.write_text(facts.read_text().replace('"caption": 1', '"caption": 2'))
    assert any("content is not what the annotations contain" in line for line in sound(out))


def test_manifests_of_earlier_releases_have_no_content_report(tmp_path: Path) -> None:
    correct(folder(tmp_path / "source"), out := tmp_path / "out")
    path = out / "manifest/balance.json"
    facts = json.loads(path.read_text())
    del facts["content"]
    path.write_text(json.dumps(facts))
    assert not any("content" in line for line in sound(out))
    path.write_text(json.dumps({**facts, "content": {"found": {}, "dropped": {}}}))
    assert any("content is not what" in line for line in sound(out))


def test_annotations_may_name_removed_images(tmp_path: Path) -> None:
    source, irregular = tmp_path / "source", "xQ7zK2vB9wJ4pT8r" * 12
    folder(source)
    for suffix in ("jpg", "txt", "npy", "json"):
        (source / f"c.{suffix}").rename(source / f"{irregular}.{suffix}")
    for name in "abdef":
        write(source, f"{name}.json", json.dumps({"caption": f"{irregular}.jpg"}))
    table, out = tmp_path / "groups.tsv", tmp_path / "out"
    names = ["a", "b", irregular, *"def"]
    table.write_text("id\tgroup\n" + "".join(f"{n}.jpg\t{'xy'[n == 'b']}\n" for n in names))
    options = BalanceOptions(strategy="subset", by=("group",), tolerance=0.0)
    inputs = BalanceInputs(groups=table, visible_faces=True)
    rebalance(str(source), out, options, inputs, ONE, quiet=True)
    assert irregular not in kept(out)
    assert irregular in (out / "data/b.json").read_text()
    assert sound(out) == []


CAPTIONS = "image| number| comment\n" + "".join(f"{n}.jpg| 0| A dog , and a cat .\n" for n in NAMES)
LISTED = {
    "flickr.txt": ("".join(f"{n}.jpg#{k}\tA dog .\n" for n in NAMES for k in (0, 1)), 4),
    "flickr.csv": (CAPTIONS, 3),
    "people.csv": ("file;age\n" + "".join(f"{n}.jpg;3\n" for n in NAMES), 3),
    "celeba.txt": ("6\nBald Young \n" + "".join(f"{n}.jpg -1  1\n" for n in NAMES), 4),
    "bom.csv": ("\ufefffile,age\n" + "".join(f"{n}.jpg,3\n" for n in NAMES), 3),
    "rows.jsonl": ("".join(f'{{"file": "{n}.jpg", "n": [1]}}\n' for n in NAMES), 2),
}


@pytest.mark.parametrize("name", LISTED)
def test_tables_and_lists_of_the_field_lose_the_rows_of_removed_images(
    name: str, tmp_path: Path
) -> None:
    text, count = LISTED[name]
    source = folder(tmp_path / "source")
    write(source, name, text)
    correct(source, out := tmp_path / "out")
    found = (out / "data" / name).read_text(encoding="utf-8-sig").splitlines()
    lines = text.removeprefix("\ufeff").splitlines()
    assert found == [
        line for line in lines if not any(f"{n}.jpg" in line for n in set(NAMES) - set(kept(out)))
    ]
    assert len(found) == count
    assert sound(out) == []
