"""Make a repository's tree equal to a whitelist, in commits that can be interrupted anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from curate.core.errors import DataError, SetupError
from curate.publishing.hub.batches import (
    CARD,
    Batch,
    Difference,
    LocalFile,
    compare_trees,
    is_same,
    iter_batches,
)
from curate.publishing.hub.remote import Remote
from curate.publishing.hub.retry import ATTEMPTS, MovedError, explaining, is_passing, pause
from curate.storage.atomic import save_text

VERSION = 1
_NAME = "push.json"
PROGRESS_MARK = "<!-- curate: upload in progress -->"


@dataclass(slots=True, kw_only=True)
class State:
    """How far an upload is.

    Args:
        repo_id: where it goes.
        head: the last commit that is known to be this upload's, or the one it began on.
        parent: parent of a commit that was asked for and not yet confirmed, or None.
        title: title of that commit, or None.
    """

    repo_id: str
    head: str | None = None
    parent: str | None = None
    title: str | None = None

    def begin(self, folder: Path, parent: str, title: str) -> None:
        """Note that a commit is asked for, before it is."""
        self.parent, self.title = parent, title
        save_state(self, folder)

    def finish(self, folder: Path, head: str) -> None:
        """Note that the repository is at a commit of this upload."""
        self.head, self.parent, self.title = head, None, None
        save_state(self, folder)


def load_state(folder: Path, repo_id: str) -> State:
    """The state in a folder, or a new one.

    Raises:
        DataError: if it is damaged or of another repository.
    """
    path = folder / _NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        version = value.pop("version")
        state = State(**value)
        if not all(text is None or isinstance(text, str) for text in value.values()):
            raise ValueError("a commit is not a text")
    except FileNotFoundError:
        return State(repo_id=repo_id)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DataError(f"{path} is damaged; remove it and push again") from None
    if version != VERSION or state.repo_id != repo_id:
        raise DataError(f"{path} belongs to a push to {state.repo_id}; give another --state folder")
    return state


def save_state(state: State, folder: Path) -> None:
    """Write the state, so that a reader sees all of it or what was there before."""
    folder.mkdir(parents=True, exist_ok=True)
    value = {"version": VERSION, **asdict(state)}
    save_text(folder / _NAME, json.dumps(value, indent=2, sort_keys=True) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an upload is.

    Args:
        files: files that are in the repository.
        total_files: files of the whitelist.
        bytes: bytes sent in this attempt.
        total_bytes: bytes that this attempt has to send.
    """

    files: int
    total_files: int
    bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload in the state that its folder holds.

    Args:
        remote: the repository.
        folder: where the state is.
        state: how far it is.
        watch: called after every commit.
        notify: called with a line for the user.
    """

    remote: Remote
    folder: Path
    state: State
    watch: Callable[[Progress], None] = field(default=lambda _: None)
    notify: Callable[[str], None] = field(default=lambda _: None)


def settle_head(upload: Upload) -> str:
    """The head to go on from: the state's, or that of a commit whose answer was lost.

    Raises:
        MovedError: if somebody else has committed.
    """
    head, state = upload.remote.head(), upload.state
    if state.head is None or head == state.head:
        if state.head is None:
            state.finish(upload.folder, head)
        return head
    if state.parent is not None:
        commits = upload.remote.last_commits()
        ours = len(commits) > 1 and commits[0] == (head, state.title)
        if ours and commits[1][0] == state.parent:
            state.finish(upload.folder, head)
            return head
    raise MovedError(
        f"{upload.remote.url} has commits that this push did not make (head {head[:12]}, expected "
        f"{state.head[:12]}); nothing was overwritten. Look at them, and to go on from there, "
        f"which replaces what differs, add --parent {head}"
    )


def send(upload: Upload, files: Sequence[LocalFile], notice: LocalFile | None) -> str:
    """Send what the repository lacks, delete what left, and compare the trees.

    Args:
        upload: the upload.
        files: the whitelist.
        notice: the ``README.md`` of an upload in progress, or None.

    Returns:
        The repository's head, whose tree equals the whitelist.

    Raises:
        MovedError: if somebody else has committed.
        DataError: if the trees differ after everything was sent.
    """
    head = settle_head(upload)
    for _ in range(3):
        tree = upload.remote.tree(head)
        difference = compare_trees(files, tree)
        if not difference.add and not difference.delete:
            return head
        if notice is not None and _needs_notice(difference) and not is_same(notice, tree.get(CARD)):
            head = _commit(upload, Batch(add=(notice,)), head)
        head = _send_batches(upload, difference, head)
    left = [file.path for file in difference.add] + list(difference.delete)
    raise DataError(
        f"{upload.remote.repo_id} still differs from the whitelist in {len(left):,} files after "
        f"they were sent, first {left[0]!r}; is there a .gitignore in the repository?"
    )


def _needs_notice(difference: Difference) -> bool:
    """Whether anything but the card is left to do."""
    return bool(difference.delete) or any(file.path != CARD for file in difference.add)


def _send_batches(upload: Upload, difference: Difference, head: str) -> str:
    total = sum(file.bytes for file in difference.add)
    files, sent = difference.unchanged, 0
    count = difference.unchanged + len(difference.add)
    for batch in iter_batches(difference):
        head = _commit(upload, batch, head)
        files, sent = files + len(batch.add), sent + batch.bytes
        upload.watch(Progress(files=files, total_files=count, bytes=sent, total_bytes=total))
    return head


def _commit(upload: Upload, batch: Batch, parent: str) -> str:
    """Commit one batch, whatever the connection does in between."""
    title = batch.title
    upload.state.begin(upload.folder, parent, title)
    for attempt in range(ATTEMPTS):
        try:
            with explaining("sending files to", upload.remote.repo_id):
                head = upload.remote.commit(batch, title, parent)
            break
        except Exception as error:
            # An answer that was lost, or a retry inside the client: the commit may be there.
            if not is_passing(error) and not isinstance(error, MovedError):
                raise
            head = settle_head(upload)
            if head != parent:
                break
            if isinstance(error, MovedError) or attempt == ATTEMPTS - 1:
                raise SetupError(
                    f"sending files to {upload.remote.repo_id} failed {attempt + 1} times "
                    f"({error}); run the same command again to go on"
                ) from None
            pause(getattr(error, "wait", None), attempt, upload.notify, str(error))
    upload.state.finish(upload.folder, head)
    return head


def save_notice(folder: Path, header: str) -> LocalFile:
    """Write the ``README.md`` of a repository whose upload is in progress.

    Args:
        folder: where to write it.
        header: YAML between its ``---`` lines, kept so that access terms hold from the start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        f"---\n{header}---\n{PROGRESS_MARK}\n# Upload in progress\n\n"
        "The files of this dataset are still being uploaded. What is here now is not complete; "
        "earlier versions can be read at their tags.\n"
    )
    path = folder / "notice.md"
    path.write_text(text, encoding="utf-8")
    data = text.encode()
    return LocalFile(
        path=CARD, source=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)
    )
