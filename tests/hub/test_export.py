"""`curate push --to`: the same tree, through the same gate, to a folder or an fsspec URL."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import curate
from curate.core.errors import DataError, UsageError
from curate.publishing.hub.pull import verify_published
from tests.publishing.card.test_card import AUDIT
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


def save_reports(out: Path) -> None:
    """Reports beside OUT, with groups that a card does not show and names of people and images."""
    out.with_name("audit.json").write_text(
        json.dumps({**AUDIT, "source": MARK, "reviewers": [MARK]})
    )
    records = json.loads((out / "manifest/run.json").read_text())["records"]["sha256"]
    bound = {
        "looked": 100, "planned": 100, "population": 700, "found": 0, "confidence": 0.95,
        "stated_upper": 0.03, "reviewers": [{"reviewer": MARK, "checks": 0}],
    }  # fmt: skip
    out.with_name("review.json").write_text(
        json.dumps({"version": 1, "review": MARK, "statement": MARK, "images": {MARK: 1},
                    "manifest": {"records_sha256": records}, "bound": bound,
                    "reviewers": [{"reviewer": MARK, "seconds_per_image": 3.0}]})
    )  # fmt: skip
    text = (out / "card.toml").read_text()
    (out / "card.toml").write_text(f"# {MARK}\n{text}")
    curate.write_card(out)


MARK = "name-of-a-person"


def test_what_a_card_cites_is_published_and_nothing_else_of_it(out: Path, tmp_path: Path) -> None:
    save_reports(out)
    tree = tmp_path / "tree"
    export(out, tree)
    assert list(verify_published(str(tree), True, lambda _: None)) == []
    assert json.loads((tree / "review.json").read_text())["bound"]["looked"] == 100
    groups = json.loads((tree / "audit.json").read_text())["attributes"]["gender"]["groups"]
    assert groups == {"f|x": {"count": 300, "share": 0.6, "ci95": [0.55, 0.64]}}
    answers = tomllib.loads((tree / "card.toml").read_text())
    assert answers["use"] == {"intended": "Training classifiers."}
    assert "maintainer" not in answers
    for path in tree.rglob("*"):
        assert path.is_dir() or MARK.encode() not in path.read_bytes(), path
    assert "\ncurate verify .\n" in (tree / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("audit.json", "", None, "missing: audit.json: README.md cites it, and it is not there"),
        ("card.toml", "", None, "missing: card.toml: README.md cites it, and it is not there"),
        ("audit.json", '"count": 300', '"count": 301', "and the card says 300"),
        ("audit.json", "{", "", "is not valid JSON"),
        ("card.toml", "intended", "other", "a governance row cites what is not there"),
        ("card.toml", "[use]", "[use", "is not valid TOML"),
        ("README.md", "`card.toml#/use/intended`", "`plan.toml#/use`", "missing: plan.toml"),
        ("README.md", "`card.toml#/use/intended`", "`card.toml#/%ff`", "is not a pointer"),
    ],
)
def test_verify_names_evidence_that_is_absent_or_differs(
    out: Path, tmp_path: Path, name: str, old: str, new: str | None, problem: str
) -> None:
    save_reports(out)
    tree = tmp_path / "tree"
    export(out, tree)
    if new is None:
        (tree / name).unlink()
    else:
        (tree / name).write_text((tree / name).read_text().replace(old, new, 1))
    relist(tree)
    found = verify_published(str(tree), True, lambda _: None)
    assert problem in "\n".join(f"{one.kind}: {one.path}: {one.detail}" for one in found)


def relist(tree: Path) -> None:
    """Make the listing that of the files as they are now."""
    listing = tree / "manifest/files.jsonl"
    lines = []
    for line in map(json.loads, listing.read_text().splitlines()):
        path = tree / line["path"]
        if path.is_file():
            data = path.read_bytes()
            line |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            lines.append(json.dumps(line))
    listing.write_text("\n".join(lines) + "\n")


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
