from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from curate.core.errors import CurateError, DataError, SetupError, UsageError
from curate.publishing.hub import batches
from curate.publishing.hub.batches import LocalFile, compare_trees, iter_batches
from curate.publishing.hub.content import describe_file
from curate.publishing.hub.remote import Remote, check_repo_id
from curate.publishing.hub.retry import MovedError
from curate.publishing.hub.upload import PROGRESS_MARK, State, Upload, load_state, save_notice, send
from tests.hub.server import Fault, Hub

REPO = "somebody/photos"


def make_files(folder: Path, count: int, size: int = 300) -> list[LocalFile]:
    """Files of the kind that goes over LFS, a few that do not, and a card."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(count):
        name = f"{number:05d}.{'jpg' if number % 5 else 'txt'}"
        (folder / name).write_bytes(hashlib.sha256(str(number).encode()).digest() * (size // 32))
        files.append(describe_file(f"data/{name}", folder / name))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Photos\n")
    return [*files, describe_file("README.md", folder / "README.md")]


def upload(hub: Hub, folder: Path, files: list[LocalFile]) -> str:
    remote = Remote(REPO)
    remote.create(private=True)
    state = load_state(folder / "state", REPO)
    notice = save_notice(folder / "state", "license: mit\n")
    return send(Upload(remote=remote, folder=folder / "state", state=state), files, notice)


def check_complete(hub: Hub, files: list[LocalFile]) -> None:
    """The remote tree equals the local one; nothing was sent or committed twice."""
    tree = hub.tree(REPO)
    tree.pop(".gitattributes")
    assert tree == {file.path: file.source.read_bytes() for file in files}
    assert set(hub.uploads.values()) <= {1}
    added = Counter(path for commit in hub.repos[REPO].commits for path in commit.added)
    assert {path for path, times in added.items() if times > 1} <= {"README.md"}


def test_a_tree_arrives_whole_with_the_card_last(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_FILES", 7)
    files = make_files(tmp_path / "a", 40)
    head = upload(hub, tmp_path, files)
    check_complete(hub, files)
    commits = hub.repos[REPO].commits
    assert head == commits[-1].oid
    assert commits[-1].added == ("README.md",)
    readmes = [hub.blobs[commit.tree["README.md"]] for commit in commits[1:]]
    assert all(PROGRESS_MARK.encode() in text for text in readmes[:-1])
    assert all(len(commit.added) <= 7 for commit in commits)


def test_an_upload_that_goes_on_does_not_send_its_notice_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setattr(batches, "MAX_FILES", 5)
    files = make_files(tmp_path / "a", 20)
    hub.faults.append(Fault("POST", "/commit/", skip=2, times=1, status=403))
    with pytest.raises(SetupError):
        upload(hub, tmp_path, files)
    hub.bodies.clear()
    upload(hub, tmp_path, files)
    assert PROGRESS_MARK.encode() not in hub.received()
    check_complete(hub, files)


def test_a_second_push_of_the_same_tree_commits_nothing(hub: Hub, tmp_path: Path) -> None:
    files = make_files(tmp_path / "a", 5)
    head = upload(hub, tmp_path, files)
    assert upload(hub, tmp_path, files) == head


def test_what_left_the_dataset_is_deleted_first_and_the_history_is_kept(
    hub: Hub, tmp_path: Path
) -> None:
    files = make_files(tmp_path / "a", 6)
    first = upload(hub, tmp_path, files)
    upload(hub, tmp_path, [*files[2:]])
    tree = hub.tree(REPO)
    assert "data/00000.txt" not in tree
    assert "data/00002.jpg" in tree
    commits = hub.repos[REPO].commits
    assert first in [commit.oid for commit in commits]
    after = commits[[commit.oid for commit in commits].index(first) + 1 :]
    assert [commit.deleted for commit in after if commit.deleted] == [
        ("data/00000.txt", "data/00001.jpg")
    ]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "/lfs/", times=2, skip=3, cut="within"),
        Fault("PUT", "/lfs/", times=2, skip=3, cut="before"),
        Fault("PUT", "/lfs/", times=2, skip=3, status=500),
        Fault("PUT", "/lfs/", times=2, skip=3, status=429, headers={"Retry-After": "7"}),
        Fault("POST", "/commit/", times=2, skip=1, cut="before"),
        Fault("POST", "/commit/", times=1, skip=1, cut="after"),
        Fault("POST", "/commit/", times=2, skip=1, status=503),
        Fault("POST", "/preupload/", times=2, skip=1, status=500),
        Fault("GET", "/tree/", times=2, status=502),
        Fault("GET", "/tree/", times=1, cut="before"),
    ],
    ids=lambda fault: f"{fault.method} {fault.path} {fault.cut or fault.status}",
)
def test_faults_that_pass_are_survived(
    hub: Hub,
    tmp_path: Path,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    monkeypatch.setattr(batches, "MAX_FILES", 5)
    files = make_files(tmp_path / "a", 20)
    hub.faults.append(fault)
    upload(hub, tmp_path, files)
    assert fault.times == 0
    check_complete(hub, files)


def test_a_rate_limit_is_waited_for_as_long_as_the_hub_asks(
    hub: Hub, tmp_path: Path, waits: list[float]
) -> None:
    hub.faults.append(Fault("POST", "/commit/", times=2, status=429, headers={"Retry-After": "17"}))
    upload(hub, tmp_path, make_files(tmp_path / "a", 3))
    assert waits == [17.0, 17.0]


def test_a_date_in_retry_after_is_understood(hub: Hub, tmp_path: Path, waits: list[float]) -> None:
    from email.utils import formatdate

    moment = formatdate(time.time() + 30, usegmt=True)
    hub.faults.append(Fault("POST", "/commit/", status=503, headers={"Retry-After": moment}))
    upload(hub, tmp_path, make_files(tmp_path / "a", 3))
    assert len(waits) == 1
    assert 25 < waits[0] <= 30


@pytest.mark.parametrize("status", [401, 403, 404, 413])
def test_faults_that_stay_are_one_line_and_no_retry(
    hub: Hub, tmp_path: Path, waits: list[float], status: int
) -> None:
    hub.faults.append(Fault("POST", "/commit/", times=99, status=status))
    with pytest.raises(CurateError, match=f"HTTP {status}") as raised:
        upload(hub, tmp_path, make_files(tmp_path / "a", 3))
    assert "\n" not in str(raised.value)
    assert waits == []
    assert sum(method == "POST" and "/commit/" in path for method, path in hub.requests) == 1


def test_a_hub_that_never_answers_ends_the_push_with_advice(
    hub: Hub, tmp_path: Path, waits: list[float]
) -> None:
    hub.faults.append(Fault("POST", "/commit/", times=99, status=500))
    with pytest.raises(SetupError, match=r"failed 8 times.*run the same command again"):
        upload(hub, tmp_path, make_files(tmp_path / "a", 3))
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]


def test_a_head_that_somebody_moved_is_an_error_and_stays(
    hub: Hub, tmp_path: Path, waits: list[float]
) -> None:
    files = make_files(tmp_path / "a", 5)
    upload(hub, tmp_path, files)
    other = hub.commit(REPO, {"data/00001.jpg": b"an edit"})
    (tmp_path / "a/00002.jpg").write_bytes(b"new")
    files[2] = describe_file("data/00002.jpg", tmp_path / "a/00002.jpg")
    with pytest.raises(MovedError, match=f"nothing was overwritten.*--parent {other}"):
        upload(hub, tmp_path, files)
    assert hub.tree(REPO)["data/00001.jpg"] == b"an edit"


def test_a_head_that_moves_between_two_commits_is_an_error(
    hub: Hub, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_FILES", 5)
    files = make_files(tmp_path / "a", 20)
    remote = Remote(REPO)
    remote.create(private=True)
    state = load_state(tmp_path / "state", REPO)

    def disturb(_: object) -> None:
        if len(hub.repos[REPO].commits) == 3:
            hub.commit(REPO, {"data/00000.txt": b"an edit"})

    job = Upload(remote=remote, folder=tmp_path / "state", state=state, watch=disturb)
    with pytest.raises(MovedError, match="nothing was overwritten"):
        send(job, files, None)
    assert hub.tree(REPO)["data/00000.txt"] == b"an edit"


def test_a_file_that_changed_after_the_gate_is_never_sent(hub: Hub, tmp_path: Path) -> None:
    files = make_files(tmp_path / "a", 3)
    secret = b"an original face " * 20
    (tmp_path / "a/00001.jpg").write_bytes(secret[: files[1].bytes].ljust(files[1].bytes))
    with pytest.raises(DataError, match=r"data/00001\.jpg has changed since it was verified"):
        upload(hub, tmp_path, files)
    assert b"an original face" not in hub.received()


def test_a_link_is_never_followed(hub: Hub, tmp_path: Path) -> None:
    files = make_files(tmp_path / "a", 3)
    (tmp_path / "secret").write_bytes((tmp_path / "a/00001.jpg").read_bytes())
    (tmp_path / "a/00001.jpg").unlink()
    (tmp_path / "a/00001.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="not a regular file"):
        upload(hub, tmp_path, files)


def test_gitignored_files_are_noticed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Hub that drops a file in silence, as it does with a .gitignore, ends in an error."""
    from tests.hub import server

    def forget(self: server.Api, request: object, body: bytes, **names: str) -> object:
        lines = [line for line in body.splitlines() if b"00001.jpg" not in line]
        return add(self, request, b"\n".join(lines), **names)  # type: ignore[arg-type]

    add = server.Api.add
    monkeypatch.setattr(server.Api, "add", forget)
    with pytest.raises(DataError, match=r"still differs.*00001\.jpg.*gitignore"):
        upload(hub, tmp_path, make_files(tmp_path / "a", 3))


@pytest.mark.parametrize(
    "name", ["photos", "a/b/c", "a b/c", "-a/b", "a/b--c", "a/..", "a/b.git", "a/" + "b" * 100, ""]
)
def test_ids_of_the_wrong_form_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="REPO_ID"):
        check_repo_id(name)


def test_tokens_without_permission_and_strangers_organizations_are_one_line(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    Remote(REPO).check_token()
    Remote("team/photos").check_token()
    with pytest.raises(SetupError, match=r"'nobody' is neither.*you can push to: somebody"):
        Remote("nobody/photos").check_token()
    with pytest.raises(SetupError, match="no write permission"):
        Remote("readers/photos").check_token()
    hub.can_write = False
    with pytest.raises(SetupError, match="no write permission"):
        Remote("somebody/photos").check_token()
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(SetupError, match="token is not valid"):
        Remote("somebody/photos").check_token()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SetupError, match="hf auth login"):
        Remote("somebody/photos").check_token()


def test_batches_keep_both_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 1000)
    monkeypatch.setattr(batches, "MAX_FILES", 4)
    sizes = [600, 600, 10, 10, 10, 10, 10, 5000, 1]
    files = [
        LocalFile(path=f"{n}", source=tmp_path, sha256="", bytes=size)
        for n, size in enumerate(sizes)
    ]
    found = list(iter_batches(compare_trees(files, {})))
    assert [[file.bytes for file in batch.add] for batch in found] == [
        [600], [600, 10, 10, 10], [10, 10], [5000], [1],
    ]  # fmt: skip


def test_state_of_another_repository_is_refused(tmp_path: Path) -> None:
    State(repo_id="a/b").finish(tmp_path, "0" * 40)
    assert load_state(tmp_path, "a/b").head == "0" * 40
    with pytest.raises(DataError, match="belongs to a push to a/b"):
        load_state(tmp_path, "a/c")
    whole = {"version": 1, "repo_id": "a/b"}
    texts = ["{", "", "[]", "5", "[" * 100_000, "\udcff", json.dumps({**whole, "head": 5})]
    for text in [*texts, json.dumps({**whole, "other": 1}), json.dumps({"version": 1})]:
        (tmp_path / "push.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(DataError, match="damaged"):
            load_state(tmp_path, "a/b")
