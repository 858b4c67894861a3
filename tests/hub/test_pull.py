"""What readers do: `curate pull` and `curate verify hf:…`, against a Hub that may be hostile."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import curate
from curate.cli.main import group
from curate.core.errors import CurateError, DataError, SetupError, UsageError
from curate.pipeline.session import Step
from curate.publishing.card.header import split_card
from curate.publishing.hub import pull as pulling
from curate.publishing.hub import tree as trees
from curate.publishing.hub.published import _matches
from curate.publishing.hub.pull import verify_published
from curate.publishing.hub.remote import Remote
from tests.hub.server import TOKEN, Fault, Hub, running_hub
from tests.publishing.outs import make_out

REPO = "somebody/street-scenes"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_out(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def published(finished: Path) -> dict[str, bytes]:
    """The files of a dataset as `push` publishes them."""
    tree = finished.with_name("tree")
    curate.push(finished, None, curate.PushOptions(to=str(tree), workers=1))
    return files_of(tree)


@pytest.fixture
def revision(hub: Hub, published: dict[str, bytes]) -> str:
    hub.create(REPO)
    return hub.commit(REPO, published)


def problems(full: bool = False, place: str = f"hf:{REPO}") -> list[Any]:
    return list(verify_published(place, full, lambda _: None))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_was_published_is_pulled_byte_for_byte(
    hub: Hub,
    revision: str,
    published: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    curate.pull(REPO, tmp_path / "quiet", quiet=True)
    assert capsys.readouterr().err == ""
    shutil.rmtree(tmp_path / "quiet")
    report = curate.pull(REPO, tmp_path / "copy")
    assert "downloading: " in capsys.readouterr().err
    assert files_of(tmp_path / "copy") == published
    assert report.revision == revision
    assert report.files == report.downloaded == len(published)
    assert list(tmp_path.iterdir()) != []
    assert {path.name for path in tmp_path.iterdir()} <= {"copy", "hf"}
    assert problems(place=str(tmp_path / "copy")) == []
    with pytest.raises(UsageError, match="exists; choose a new folder"):
        curate.pull(REPO, tmp_path / "copy")


def test_an_earlier_revision_or_a_tag_is_pulled(
    hub: Hub, revision: str, published: dict[str, bytes], tmp_path: Path
) -> None:
    hub.repos[REPO].tags["curate-0123"] = revision
    hub.commit(REPO, {"README.md": b"---\n---\nanother"})
    for name in (revision, "curate-0123"):
        curate.pull(f"hf:{REPO}@{name}", tmp_path / name)
        assert files_of(tmp_path / name) == published
    with pytest.raises(DataError, match="has no such revision"):
        curate.pull(f"{REPO}@v9", tmp_path / "v9")


def test_a_published_dataset_verifies_from_its_public_tier(hub: Hub, revision: str) -> None:
    assert problems() == []
    assert problems(full=True) == []
    steps: list[Step] = []
    assert list(verify_published(f"hf:{REPO}", True, lambda _: None, steps.append)) == []
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1] == Step("checking", "files", len(steps), len(steps))
    result = CliRunner().invoke(group, ["verify", f"hf:{REPO}"])
    assert result.exit_code == 0, result.output


def test_files_of_others_beside_the_target_stay(hub: Hub, revision: str, tmp_path: Path) -> None:
    for name in ("copy.partial", "copy.push"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    (tmp_path / ".copy.curate-pull").symlink_to(tmp_path / "copy.partial")
    with pytest.raises(UsageError, match="is a link"):
        curate.pull(REPO, tmp_path / "copy")
    (tmp_path / ".copy.curate-pull").unlink()
    curate.pull(REPO, tmp_path / "copy")
    for name in ("copy.partial", "copy.push"):
        assert (tmp_path / name / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("attempt", [1, 3])
def test_an_interrupted_pull_goes_on_where_it_was(
    hub: Hub, revision: str, published: dict[str, bytes], tmp_path: Path, attempt: int
) -> None:
    hub.faults.append(Fault("GET", r"resolve/.*\.bmp", skip=attempt, times=99, status=403))
    with pytest.raises(SetupError):
        curate.pull(REPO, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    hub.faults.clear()
    hub.requests.clear()
    report = curate.pull(REPO, tmp_path / "copy")
    assert files_of(tmp_path / "copy") == published
    assert report.downloaded < report.files


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "/resolve/", times=3, skip=1, status=500),
        Fault("GET", "/resolve/", times=2, skip=1, status=503),
        Fault("GET", "/resolve/", times=3, skip=1, cut="before"),
        Fault("GET", "/resolve/", times=3, skip=1, cut="halfway"),
        Fault("GET", "/tree/", times=2, status=502),
        Fault("GET", r"datasets/[^/]+/[^/]+$", times=1, cut="after"),
    ],
    ids=lambda fault: f"{fault.path} {fault.cut or fault.status}",
)
def test_faults_that_pass_are_survived(
    hub: Hub,
    revision: str,
    published: dict[str, bytes],
    tmp_path: Path,
    waits: list[float],
    fault: Fault,
) -> None:
    hub.faults.append(fault)
    curate.pull(REPO, tmp_path / "copy")
    assert fault.times == 0
    assert files_of(tmp_path / "copy") == published


def test_a_rate_limit_is_waited_for(
    hub: Hub, revision: str, tmp_path: Path, waits: list[float]
) -> None:
    limited = Fault("GET", "/resolve/", times=2, status=429, headers={"Retry-After": "23"})
    hub.faults.append(limited)
    curate.pull(REPO, tmp_path / "copy")
    assert waits == [23.0, 23.0]


def test_a_permanent_refusal_is_one_line_without_a_retry(
    hub: Hub, revision: str, tmp_path: Path, waits: list[float]
) -> None:
    hub.faults.append(Fault("GET", "/resolve/", times=99, status=403))
    with pytest.raises(SetupError, match="HTTP 403") as raised:
        curate.pull(REPO, tmp_path / "copy")
    assert "\n" not in str(raised.value)
    assert waits == []


def test_a_corrupted_download_is_never_taken(hub: Hub, revision: str, tmp_path: Path) -> None:
    hub.faults.append(Fault("GET", r"resolve/.*00001\.bmp", times=99, corrupt=True))
    with pytest.raises(DataError, match=r"00001\.bmp was downloaded with other bytes"):
        curate.pull(REPO, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert [one.kind for one in problems(full=True)] == ["changed"]


@pytest.mark.parametrize("path", [r"00001\.bmp", "README", r"files\.jsonl", r"publication\.json"])
def test_an_answer_without_an_end_is_cut_at_the_listed_size(
    hub: Hub, revision: str, tmp_path: Path, path: str
) -> None:
    hub.faults.append(Fault("GET", f"resolve/.*{path}", times=99, endless=True))
    with pytest.raises(DataError, match="larger than"):
        curate.pull(REPO, tmp_path / "copy")
    assert hub.sent < 1 << 26


def test_a_dataset_that_does_not_fit_the_disk_is_not_begun(
    hub: Hub, revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "free")(1000)
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SetupError, match=r"needs [\d,]+ more bytes.* has 1,000 free"):
        curate.pull(REPO, tmp_path / "copy")


def listed(published: dict[str, bytes], **changes: object) -> bytes:
    """The listing with its first line changed."""
    first, *rest = published[trees.FILES].decode().splitlines()
    return "\n".join([json.dumps({**json.loads(first), **changes}), *rest, ""]).encode()


@pytest.mark.parametrize(
    "path",
    [
        "../escaped",
        "/escaped",
        "data/../../escaped",
        ".",
        "",
        "data//x",
        "a\0b",
        5,
        None,
        ["a"],
    ],
)
def test_paths_outside_the_folder_are_refused(
    hub: Hub, revision: str, published: dict[str, bytes], tmp_path: Path, path: object
) -> None:
    hub.commit(REPO, {trees.FILES: listed(published, path=path), "../escaped": b"x"})
    with pytest.raises(DataError, match=r"files\.jsonl, line 1, cannot be read"):
        curate.pull(REPO, tmp_path / "a" / "copy")
    assert not list(tmp_path.rglob("*escaped*"))
    with pytest.raises(DataError, match=r"files\.jsonl, line 1, cannot be read"):
        problems()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bytes": 10**15}, "missing or has another size"),
        ({"bytes": -1}, "cannot be read"),
        ({"bytes": "1"}, "cannot be read"),
        ({"bytes": True}, "cannot be read"),
        ({"sha256": None}, "cannot be read"),
        ({"path": "data/none.jpg"}, "missing or has another size"),
        ({"sha256": "0" * 64}, "with other bytes"),
    ],
)
def test_a_listing_that_lies_is_one_line(
    hub: Hub,
    revision: str,
    published: dict[str, bytes],
    tmp_path: Path,
    changes: dict[str, object],
    message: str,
) -> None:
    hub.commit(REPO, {trees.FILES: listed(published, **changes)})
    with pytest.raises(DataError, match=message) as raised:
        curate.pull(REPO, tmp_path / "copy")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: re.sub(rb"<!-- figure: [^>]*-->[^<]*<!-- /figure -->", b"1,000,000", text),
        lambda text: text + b"\n<script>alert(1)</script> \x1b[31m\n",
        lambda text: text.replace(b"pretty_name: ", b"pretty_name: Other ", 1),
        lambda text: text + b"\nAnother sentence.\n",
    ],
)
def test_an_edited_card_is_reported(
    hub: Hub,
    revision: str,
    published: dict[str, bytes],
    tmp_path: Path,
    edit: Callable[[bytes], bytes],
) -> None:
    assert edit(published["README.md"]) != published["README.md"]
    assert problems() == []
    hub.commit(REPO, {"README.md": edit(published["README.md"])})
    [found] = problems()
    assert (found.kind, found.path) == ("edited", "README.md")
    assert found.detail == "was edited after publication: its text is not covered"
    notes: list[str] = []
    curate.pull(REPO, tmp_path / "copy", notify=notes.append)
    assert f"README.md {found.detail}" in notes


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_a_line_of_the_listing_that_is_too_long_is_named(tmp_path: Path, size: int) -> None:
    (tmp_path / "files.jsonl").write_text(json.dumps({"path": "x" * size, "bytes": 1}))
    with pytest.raises(DataError, match="line 1, is longer than 65,536 bytes"):
        list(trees.load_listing(tmp_path / "files.jsonl"))


DEEP = b"[" * 100_000
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(12)
)


def changed(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[..., bytes]:
    def make(published: dict[str, bytes]) -> bytes:
        value = json.loads(published[name])
        change(value)
        return json.dumps(value).encode()

    return make


HOSTILE: list[tuple[str, Callable[[dict[str, bytes]], bytes]]] = [
    (name, lambda _, data=data: data)
    for name in ("manifest/publication.json", "manifest/run.json", "croissant.json", trees.FILES)
    for data in (b"", b"{", b"[]", b"null", b'"x"', DEEP, b"\xff\xfe", b'{"counts": []}')
] + [
    ("README.md", lambda _, text=text: text.encode())
    for text in (
        "",
        "---\n---\n",
        "---\n[]\n---\n",
        f"---\n{BOMB}---\n",
        f"---\n{'[' * 20_000}\n---\n",
        "---\n1: 2\nlicense: none\n---\n",
        "---\nlicense: !!python/object/apply:os.system ['true']\n---\n",
        "<!-- figure: " * 60_000,
        "<!-- figure: a as b -->" * 30_000,
    )
] + [
    ("manifest/publication.json", changed("manifest/publication.json", change))
    for change in (
        lambda value: value.update(splits=[1]),
        lambda value: value.update(splits={"train": "many"}),
        lambda value: value.update(manifest_sha256=["x"]),
        lambda value: value.pop("splits"),
    )
] + [
    ("croissant.json", changed("croissant.json", change))
    for change in (
        lambda value: value.update({"@context": "http://127.0.0.1:9/context"}),
        lambda value: value["creator"].update({"@context": "http://127.0.0.1:9/context"}),
        lambda value: value["@context"].update({"@import": "http://127.0.0.1:9/context"}),
        lambda value: value.update(distribution={"a": 1}),
        lambda value: value.update(recordSet=[{"@type": "cr:RecordSet", "field": 5}]),
        lambda value: value.update(creator=5),
    )
]  # fmt: skip


@pytest.mark.parametrize(("name", "make"), HOSTILE)
@pytest.mark.timeout(60)
def test_hostile_metadata_is_a_problem_or_one_line(
    hub: Hub,
    revision: str,
    published: dict[str, bytes],
    name: str,
    make: Callable[[dict[str, bytes]], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import urllib.request

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a document was loaded from elsewhere")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    hub.commit(REPO, {name: make(published)})
    result = CliRunner().invoke(group, ["verify", f"hf:{REPO}"])
    assert result.exit_code == 1
    error = result.exception
    assert isinstance(error, (CurateError, SystemExit)), repr(error)
    assert "\n" not in str(error)


def test_a_shard_that_is_no_parquet_is_a_problem(hub: Hub, finished: Path, tmp_path: Path) -> None:
    options = curate.PushOptions(
        to=str(tmp_path / "tree"), state=tmp_path / "state", form="parquet", workers=1
    )
    curate.push(finished, None, options)
    files = files_of(tmp_path / "tree")
    shard = next(path for path in files if path.startswith("data/") and path.endswith("parquet"))
    hub.create(REPO)
    for data in (b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"):
        lines = [json.loads(line) for line in files[trees.FILES].splitlines()]
        for line in lines:
            if line["path"] == shard:
                line |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        listing = "".join(json.dumps(line) + "\n" for line in lines).encode()
        hub.commit(REPO, {**files, shard: data, trees.FILES: listing})
        found = {(one.path, one.detail) for one in problems()}
        assert (shard, "is not a Parquet file that datasets reads") in found


def test_the_token_stays_with_the_hub_that_it_is_for(
    hub: Hub, revision: str, published: dict[str, bytes], tmp_path: Path
) -> None:
    """Large files are answered with a redirect to a storage of another host."""
    with running_hub() as elsewhere:
        elsewhere.create(REPO, private=False)
        elsewhere.commit(REPO, published)
        elsewhere.repos[REPO].tags[revision] = elsewhere.repos[REPO].head.oid
        for name in sorted(path for path in published if path.endswith(".bmp")):
            place = f"{elsewhere.url}/datasets/{REPO}/resolve/{revision}/{name}"
            hub.faults.append(
                Fault("GET", f"resolve/.*{name}", times=9, status=302, headers={"Location": place})
            )
        curate.pull(REPO, tmp_path / "copy")
        assert files_of(tmp_path / "copy") == published
        assert len(elsewhere.requests) > 0
        assert elsewhere.tokens == []
    assert hub.tokens


@pytest.mark.parametrize("token", ["hf_secret\x00", "hf_sec ret", "hf_sécret", "hf_secret\x7f"])
def test_a_token_that_cannot_be_sent_is_never_shown(
    hub: Hub, revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
    with pytest.raises(SetupError, match="characters that no token has") as raised:
        curate.pull(REPO, tmp_path / "copy")
    assert token not in str(raised.value)


def test_no_message_holds_the_token(
    hub: Hub, revision: str, tmp_path: Path, waits: list[float]
) -> None:
    told: list[str] = []
    for status in (400, 401, 403, 404, 418, 451, 500):
        message = f"bad request of Bearer {TOKEN}"
        hub.faults[:] = [Fault("GET", "/resolve/", times=99, status=status, message=message)]
        with pytest.raises(CurateError) as raised:
            curate.pull(REPO, tmp_path / "copy", told.append)
        told.append(str(raised.value))
    assert TOKEN not in "\n".join(told)


def test_a_private_or_absent_repository_is_one_line(
    hub: Hub, revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="there is no dataset 'somebody/none'"):
        curate.pull("somebody/none", tmp_path / "copy")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(DataError, match="or your token may not see it"):
        curate.pull(REPO, tmp_path / "copy")


def test_a_repository_that_curate_did_not_publish_is_one_line(hub: Hub, tmp_path: Path) -> None:
    hub.create(REPO)
    with pytest.raises(DataError, match=r"was it published by `curate push`, and completely\?"):
        curate.pull(REPO, tmp_path / "copy")


@pytest.mark.parametrize(
    "place", ["photos", "a/b/c", "hf:", "a/b@", "../..", "a/..", "hf:a b/c", "https://x/a/b"]
)
def test_names_of_the_wrong_form_are_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError):
        curate.pull(place, tmp_path / "copy")


def test_a_link_in_a_pulled_copy_is_never_followed(hub: Hub, revision: str, tmp_path: Path) -> None:
    curate.pull(REPO, tmp_path / "copy")
    path = next((tmp_path / "copy/data").rglob("*.bmp"))
    (tmp_path / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a link"):
        problems(place=str(tmp_path / "copy"))


def test_a_silent_server_does_not_hold_the_client_forever(
    hub: Hub, revision: str, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    from curate.publishing.hub import remote

    monkeypatch.setattr(remote, "ANSWER_TIMEOUT_S", 0.1)
    hub.delay = 0.5
    with pytest.raises(SetupError, match="failed 8 times"):
        Remote(REPO).head()


def test_a_tree_without_an_end_is_refused(
    hub: Hub, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.publishing.hub import remote

    monkeypatch.setattr(remote, "MAX_FILES_LISTED", 3)
    with pytest.raises(DataError, match="lists more than 3 files"):
        Remote(REPO).tree(revision)


@pytest.mark.parametrize("sha", ["", "../../x", "main", "0" * 39, None])
def test_a_commit_that_is_none_is_refused(hub: Hub, revision: str, sha: Any) -> None:
    hub.repos[REPO].head.oid = sha
    with pytest.raises(DataError):
        Remote(REPO).head()


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("data/train/a.jpg", "data/train/*.jpg", True),
        ("data/train/x/a.jpg", "data/train/*.jpg", False),
        ("data/train/x/y/a.jpg", "data/train/**/*.jpg", True),
        ("data/train/a.jpg", "data/train/**/*.jpg", True),
        ("data/test/a.jpg", "data/train/**/*.jpg", False),
        ("data/a.jpg", "data/**/x/*.jpg", False),
        ("a/b.jpg", "**/*.jpg", True),
        ("data/" + "a" * 4000, "data/" + "*a" * 400 + "b", False),
    ],
)
def test_patterns_of_data_files(path: str, pattern: str, fits: bool) -> None:
    assert _matches(path, pattern) is fits


def test_yaml_without_aliases_is_read_as_before() -> None:
    assert split_card("---\na: [1, 2]\nb: {c: x}\n---\nbody") == (
        {"a": [1, 2], "b": {"c": "x"}},
        "body",
    )
