"""The commands ``card``, ``push``, ``pull`` and ``verify hf:`` as a person uses them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import curate
from curate.cli.main import group
from curate.core.errors import DataError, UsageError
from curate.publishing.hub.pull import parse_repo
from tests.hub.conftest import hub as _hub
from tests.hub.server import Fault, Hub
from tests.publishing.outs import CANARY

hub = _hub
REPO = "somebody/street-scenes"


@pytest.fixture
def out(publishable: Path, tmp_path: Path) -> Path:
    return shutil.copytree(publishable, tmp_path / "place") / "out"


def run(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(group, [str(word) for word in arguments], input=answer)


def test_a_card_is_written_and_checked(out: Path) -> None:
    shown = run("card", out)
    assert shown.exit_code == 0
    assert "Wrote README.md, croissant.json, CITATION.cff, before_after.jpg" in shown.stderr
    assert run("card", out, "--check").exit_code == 0
    text = (out / "README.md").read_text()
    (out / "README.md").write_text(text.replace("as count -->7<", "as count -->8<", 1))
    shown = run("card", out, "--check")
    assert shown.exit_code == 1
    assert "README.md: manifest/run.json#/counts/written is 7, and the card says 8" in shown.stdout


def test_a_push_asks_before_it_makes_anything_public(hub: Hub, out: Path) -> None:
    for answer in ("n\n", ""):
        shown = run("push", out, REPO, "--public", "--workers", 1, answer=answer)
        assert isinstance(shown.exception, UsageError)
        assert "--public was not confirmed, and nothing was sent" in str(shown.exception)
    assert hub.repos == {}
    shown = run("push", out, REPO, "--public", "--workers", 1, answer="y\n")
    assert shown.exit_code == 0, shown.output
    assert not hub.repos[REPO].private
    assert "Make somebody/street-scenes visible to everybody?" in shown.stderr


def test_a_dry_run_lists_what_would_be_sent_and_where(hub: Hub, out: Path) -> None:
    shown = run("push", out, REPO, "--dry-run", "--workers", 1)
    assert shown.exit_code == 0
    assert "  data/train/cat/00001.bmp\n" in shown.stdout
    assert "to hf:somebody/street-scenes; nothing was sent:\n" in shown.stderr
    assert "bytes, in the layout of OUT.\n" in shown.stderr
    assert max(map(len, shown.output.splitlines())) <= 80
    assert hub.requests == []


def test_json_is_for_programs(hub: Hub, out: Path) -> None:
    shown = run("push", out, REPO, "--json", "--quiet", "--workers", 1)
    value = json.loads(shown.stdout)
    assert value["version"] == 1
    assert value["dataset_version"] == "1.0.0"
    assert value["revision"] == hub.repos[REPO].head.oid
    assert shown.stderr == ""


def test_a_summary_fits_a_narrow_terminal(hub: Hub, out: Path, tmp_path: Path) -> None:
    shown = run("push", out, REPO, "--workers", 1)
    assert shown.stdout == ""
    assert f"Revision: {hub.repos[REPO].head.oid}\n" in shown.stderr
    assert max(map(len, shown.stderr.splitlines())) <= 80
    for command in (["push", out, REPO, "--workers", 1], ["pull", REPO, tmp_path / "copy"]):
        assert run(*command, "--quiet").output == ""


def test_each_refusal_is_a_line(hub: Hub, out: Path) -> None:
    shutil.copyfile(out.parent / "photos/train/cat/cut.jpg", out / "data/train/cat/cut.jpg")
    shown = run("push", out, REPO, "--workers", 1)
    assert "refused: data/train/cat/cut.jpg: extra: " in shown.stderr
    assert isinstance(shown.exception, DataError)
    assert str(shown.exception) == (
        f"nothing was sent: 1 fault of {out}; repair OUT, or make it again"
    )
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos"], "REPO_ID 'photos' is not of the form owner/name"),
        ([], "give either REPO_ID or --to"),
        ([REPO, "--to", "x"], "give either REPO_ID or --to"),
        (["--to", "x", "--gated", "auto"], "are for the Hub"),
        ([REPO, "--dry-run", "--withdraw", "x"], "cannot be tried with --dry-run"),
    ],
)
def test_wrong_usage_is_one_line(out: Path, arguments: list[str], message: str) -> None:
    shown = run("push", out, *arguments)
    assert isinstance(shown.exception, UsageError)
    assert message in str(shown.exception)


def test_anyone_can_pull_and_verify(hub: Hub, out: Path, tmp_path: Path) -> None:
    report = curate.push(out, REPO, curate.PushOptions(workers=1))
    copy = tmp_path / "copy"
    shown = run("pull", f"{REPO}@{report.tag}", copy)
    assert shown.exit_code == 0, shown.output
    for path in (out / "data").rglob("*"):
        if path.is_file():
            assert (copy / path.relative_to(out)).read_bytes() == path.read_bytes()
    assert run("verify", copy).exit_code == 0
    assert run("verify", f"hf:{REPO}").exit_code == 0
    shown = run("verify", f"hf:{REPO}", "--all")
    assert shown.exit_code == 0
    assert "every file checked against the public manifest" in shown.stderr
    assert "exists; choose a new folder" in str(run("pull", REPO, copy).exception)
    (copy / "data/train/cat/00001.bmp").write_bytes(b"BM")
    shown = run("verify", copy)
    assert shown.exit_code == 1
    assert "changed: data/train/cat/00001.bmp" in shown.stdout


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"data/train/cat/00001.bmp": b"BM"}, "changed: data/train/cat/00001.bmp"),
        ({"data/train/cat/more.bmp": b"BM"}, "extra: data/train/cat/more.bmp"),
        ({"manifest/run.json": b"{}"}, "changed: manifest/"),
        ({"README.md": b"---\nlicense: x\n---\n"}, "card: README.md"),
        ({"croissant.json": b"{}"}, "card: croissant.json"),
    ],
)
def test_what_others_change_on_the_hub_is_named(
    hub: Hub, out: Path, files: dict[str, bytes], problem: str
) -> None:
    curate.push(out, REPO, curate.PushOptions(workers=1))
    hub.commit(REPO, files)
    shown = run("verify", f"hf:{REPO}")
    assert shown.exit_code == 1
    assert problem in shown.stdout


def test_stale_features_are_named(hub: Hub, out: Path) -> None:
    curate.write_card(out, curate.CardOptions(form="parquet"))
    curate.push(out, REPO, curate.PushOptions(workers=1, form="parquet"))
    card = hub.tree(REPO)["README.md"].replace(b"- name: file_name", b"- name: old_name")
    hub.commit(REPO, {"README.md": card})
    shown = run("verify", f"hf:{REPO}")
    assert "card: README.md: its feature 'old_name' is not that of data/te" in shown.stdout


def test_a_corrupted_download_ends_a_pull_that_then_goes_on(
    hub: Hub, out: Path, tmp_path: Path
) -> None:
    curate.push(out, REPO, curate.PushOptions(workers=1))
    hub.faults.append(Fault("GET", r"resolve/.*00004\.bmp", times=99, corrupt=True))
    with pytest.raises(DataError, match=r"00004\.bmp"):
        curate.pull(REPO, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    hub.faults.clear()
    hub.requests.clear()
    curate.pull(REPO, tmp_path / "copy")
    assert sum("00001.bmp" in path for _, path in hub.requests) == 0  # was there already
    assert (tmp_path / "copy/data/train/dog/00004.bmp").exists()


def test_a_listing_cannot_lead_out_of_the_folder(hub: Hub, out: Path, tmp_path: Path) -> None:
    curate.push(out, REPO, curate.PushOptions(workers=1))
    line = json.dumps({"path": "../evil", "sha256": "0" * 64, "bytes": 1})
    hub.commit(REPO, {"manifest/files.jsonl": f"{line}\n".encode()})
    with pytest.raises(DataError, match=r"line 1, cannot be read: path '\.\./evil'"):
        curate.pull(REPO, tmp_path / "copy")
    assert not (tmp_path / "evil").exists()


def test_what_push_did_not_make_cannot_be_pulled(hub: Hub, tmp_path: Path) -> None:
    hub.create(REPO)
    with pytest.raises(DataError, match=r"has no manifest/publication\.json"):
        curate.pull(REPO, tmp_path / "copy")
    with pytest.raises(DataError, match="there is no dataset 'somebody/none'"):
        curate.pull("somebody/none", tmp_path / "copy")
    with pytest.raises(DataError, match="no such revision"):
        curate.pull(f"{REPO}@none", tmp_path / "copy")


def test_places_are_parsed() -> None:
    assert parse_repo("hf:a/b@v1") == ("a/b", "v1")
    assert parse_repo("a/b") == ("a/b", None)
    for wrong in ("a/b@", "a", "hf:"):
        with pytest.raises(UsageError):
            parse_repo(wrong)


@pytest.mark.parametrize("place", ["folder", "memory://bucket/scenes"])
def test_the_same_tree_goes_to_a_folder_or_url(out: Path, tmp_path: Path, place: str) -> None:
    import fsspec

    target = str(tmp_path / place) if place == "folder" else place
    options = curate.PushOptions(to=target, workers=1)
    report = curate.push(out, None, options)
    system, root = fsspec.core.url_to_fs(target)
    found = {path[len(root) :].lstrip("/"): system.cat(path) for path in system.find(root)}
    assert set(found) == set(report.files)
    assert CANARY not in b"".join(found.values())
    curate.push(out, None, options)  # once more: all is there
    system.pipe(f"{root}/stranger.txt", b"x")
    with pytest.raises(UsageError, match=r"holds 'stranger\.txt'"):
        curate.push(out, None, options)
