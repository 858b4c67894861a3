"""A dataset repository of the Hub: the calls that are needed, retries, and errors in one line."""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from curate.core.errors import CurateError, DataError, MissingExtraError, SetupError, UsageError
from curate.core.records import escape_unprintable
from curate.publishing.hub.batches import Batch, LocalFile, RemoteFile
from curate.publishing.hub.content import load_verified

ATTEMPTS = 8
LONGEST_WAIT_S = 300.0
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_T = TypeVar("_T")

sleep = time.sleep


class MovedError(DataError):
    """The repository's head is not the commit that the upload left."""


class MissingRepositoryError(DataError):
    """There is no such repository, or the token may not see it."""


def check_repo_id(repo_id: str) -> str:
    """Refuse what is not ``owner/name``.

    Raises:
        UsageError: if it is not of that form; says what is wrong.
    """
    parts = repo_id.split("/")
    if len(parts) != 2 or not all(
        _NAME.fullmatch(part) and "--" not in part and ".." not in part for part in parts
    ):
        raise UsageError(
            f"REPO_ID {repo_id!r} is not of the form owner/name (letters, digits, '-', '_', '.'; "
            "no '--' or '..'); write for example my-lab/street-scenes"
        )
    if len(repo_id) > 96 or repo_id.endswith(".git"):
        raise UsageError(f"REPO_ID {repo_id!r} is longer than 96 characters or ends in .git")
    return repo_id


class Remote:
    """One dataset repository.

    Args:
        repo_id: ``owner/name``.
        tell: called with a line for the user when a request is retried.

    Raises:
        MissingExtraError: if ``huggingface_hub`` is not installed.
    """

    def __init__(self, repo_id: str, tell: Callable[[str], None] = lambda _: None) -> None:
        try:
            import huggingface_hub
            import huggingface_hub.utils
        except ImportError:
            raise MissingExtraError("the Hub", "huggingface_hub", "publish") from None
        self.repo_id = repo_id
        self.endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        self._hub: Any = huggingface_hub
        self._hub.utils.disable_progress_bars()
        self._hub.utils.logging.set_verbosity_error()
        self._api: Any = huggingface_hub.HfApi(endpoint=self.endpoint, library_name="curate")
        self._tell = tell

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{self.endpoint}/datasets/{self.repo_id}"

    def check_token(self) -> None:
        """Make sure that there is a token that may write to the owner's repositories.

        Raises:
            SetupError: if there is none, or it may not.
        """
        if self._hub.get_token() is None:
            raise SetupError(
                "no Hugging Face token was found; run `hf auth login`, or set HF_TOKEN to a token "
                "with write permission"
            )
        account = self._try("asking who you are", lambda: self._api.whoami())
        owner = self.repo_id.partition("/")[0]
        organizations = {one["name"]: one.get("roleInOrg") for one in account.get("orgs", [])}
        if owner != account["name"] and owner not in organizations:
            known = ", ".join([account["name"], *sorted(organizations)])
            raise SetupError(
                f"{owner!r} is neither your user name nor an organization of yours; "
                f"you can push to: {known}"
            )
        role = account.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read" or organizations.get(owner) == "read":
            raise SetupError(
                f"the token has no write permission for {owner!r}; create one with write "
                "permission at https://huggingface.co/settings/tokens"
            )

    def exists(self) -> bool:
        """Whether there is such a repository that the token may see."""
        try:
            self.head()
        except MissingRepositoryError:
            return False
        return True

    def create(self, private: bool) -> None:
        """Create the repository."""
        self._try(
            "creating the repository",
            lambda: self._api.create_repo(
                self.repo_id, repo_type="dataset", private=private, exist_ok=True
            ),
        )

    def gate(self, how: str) -> None:
        """Let readers accept the card's terms first; ``auto`` or ``manual``."""
        self._update(gated=how)

    def make_public(self) -> None:
        """Let everybody see the repository."""
        self._update(private=False)

    def _update(self, **settings: Any) -> None:
        self._try(
            "changing the repository's settings",
            lambda: self._api.update_repo_settings(self.repo_id, repo_type="dataset", **settings),
        )

    def head(self, revision: str | None = None) -> str:
        """The commit that a branch, tag or commit names; the newest commit if None.

        Raises:
            MissingRepositoryError: if there is no such repository.
        """
        info = self._try(
            "reading the repository",
            lambda: self._api.dataset_info(self.repo_id, revision=revision),
        )
        return str(info.sha)

    def is_private(self) -> bool:
        """Whether only its owner and who they let in can see it."""
        info = self._try("reading the repository", lambda: self._api.dataset_info(self.repo_id))
        return bool(info.private)

    def tree(self, revision: str) -> dict[str, RemoteFile]:
        """Every file at a revision, by path."""
        return self._try("listing the repository", lambda: dict(self._iter_tree(revision)))

    def _iter_tree(self, revision: str) -> Iterator[tuple[str, RemoteFile]]:
        for item in self._api.list_repo_tree(
            self.repo_id, recursive=True, revision=revision, repo_type="dataset"
        ):
            if hasattr(item, "blob_id"):
                lfs = item.lfs
                sha256 = None if lfs is None else lfs.sha256
                size = item.size if lfs is None else lfs.size
                yield (
                    item.path,
                    RemoteFile(path=item.path, bytes=size, sha256=sha256, git_oid=item.blob_id),
                )

    def last_commits(self) -> list[tuple[str, str]]:
        """Commit and title, the newest first."""
        found = self._try(
            "reading the history",
            lambda: self._api.list_repo_commits(self.repo_id, repo_type="dataset"),
        )
        return [(commit.commit_id, commit.title) for commit in found]

    def commit(self, batch: Batch, title: str, parent: str) -> str:
        """Commit once on top of a parent; every file's bytes are checked before they are sent.

        Returns:
            The new commit.

        Raises:
            MovedError: if the head is not the parent.
            DataError: if a file is not what the whitelist says.
        """
        operations: list[Any] = [
            self._hub.CommitOperationDelete(path_in_repo=path, is_folder=False)
            for path in batch.delete
        ]
        operations += [self._add(file) for file in batch.add]
        info = self._api.create_commit(
            self.repo_id,
            operations,
            commit_message=title,
            repo_type="dataset",
            revision="main",
            parent_commit=parent,
        )
        return str(info.oid)

    def _add(self, file: LocalFile) -> Any:
        return self._hub.CommitOperationAdd(
            path_in_repo=file.path, path_or_fileobj=load_verified(file)
        )

    def tag(self, name: str, revision: str) -> None:
        """Name a commit; a tag that is there already stays."""
        self._try(
            "writing the tag",
            lambda: self._api.create_tag(
                self.repo_id, tag=name, revision=revision, repo_type="dataset", exist_ok=True
            ),
        )

    def tags(self) -> dict[str, str]:
        """Commit of each tag."""
        refs = self._try(
            "reading the tags", lambda: self._api.list_repo_refs(self.repo_id, repo_type="dataset")
        )
        return {ref.name: ref.target_commit for ref in refs.tags}

    def download(self, path: str, revision: str, folder: str) -> str:
        """Download one file into a folder; returns where it is."""
        return self._try(
            f"downloading {path}",
            lambda: str(
                self._api.hf_hub_download(
                    self.repo_id,
                    path,
                    repo_type="dataset",
                    revision=revision,
                    local_dir=folder,
                    force_download=True,
                )
            ),
        )

    def _try(self, doing: str, call: Callable[[], _T]) -> _T:
        return retry(call, self._tell, doing, self.repo_id)


def retry(call: Callable[[], _T], tell: Callable[[str], None], doing: str, repo_id: str) -> _T:
    """Call again after errors that pass; every other error becomes one line.

    Args:
        call: what is done; safe to do again.
        tell: called with a line before each wait.
        doing: what is done, for messages.
        repo_id: where.
    """
    for attempt in range(ATTEMPTS):
        try:
            with explaining(doing, repo_id):
                return call()
        except _PassingError as error:
            if attempt == ATTEMPTS - 1:
                break
            pause(error.wait, attempt, tell, str(error))
            last = error
    raise SetupError(
        f"{doing} {repo_id} failed {ATTEMPTS} times ({last}); run the same command again to go on"
    )


def pause(wait: float | None, attempt: int, tell: Callable[[str], None], why: str) -> None:
    """Wait before another attempt, as long as the server asks, else longer each time."""
    seconds = min(LONGEST_WAIT_S, 2.0**attempt if wait is None else wait)
    tell(f"{why}; trying again in {seconds:g} s")
    sleep(seconds)


class _PassingError(CurateError):
    """An error that another attempt may not meet."""

    def __init__(self, text: str, wait: float | None) -> None:
        super().__init__(text)
        self.wait = wait


@contextmanager
def explaining(doing: str, repo_id: str) -> Iterator[None]:
    """Turn what the client raises into one line for the user.

    Raises:
        _PassingError: where another attempt makes sense.
        CurateError: otherwise.
    """
    try:
        yield
    except CurateError:
        raise
    except Exception as error:
        raise _explain(error, doing, repo_id) from error


def is_passing(error: Exception) -> bool:
    """Whether another attempt makes sense."""
    return isinstance(error, _PassingError)


def _explain(error: Exception, doing: str, repo_id: str) -> Exception:
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client's threads wrap what happened to one file
    names = {kind.__name__ for kind in type(error).__mro__}
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if "TransportError" in names or isinstance(error, ConnectionError | TimeoutError):
        return _PassingError(f"the connection to the Hub failed while {doing}", None)
    if status in _RETRIED:
        wait = _retry_after(response.headers.get("Retry-After"))
        return _PassingError(f"the Hub answered {status} while {doing}", wait)
    if status == 412 or (status == 409 and "commit" in str(error).lower()):
        return MovedError(f"{repo_id}: somebody else has committed since")
    if "GatedRepoError" in names:
        return SetupError(
            f"{repo_id} is gated; ask for access at its page, then log in with `hf auth login`"
        )
    if "RevisionNotFoundError" in names:
        return DataError(f"{repo_id} has no such revision; check what stands after '@'")
    if "RepositoryNotFoundError" in names:
        return MissingRepositoryError(
            f"there is no dataset {repo_id!r}, or your token may not see it; check the name, "
            "and that you are logged in (`hf auth login`)"
        )
    return _explain_status(status, error, doing, repo_id)


def _explain_status(status: int | None, error: Exception, doing: str, repo_id: str) -> Exception:
    said = escape_unprintable(" ".join(str(error).split())[:200])
    lines = {
        401: "the token is not valid; run `hf auth login` with one that has write permission",
        402: "the account's storage quota is used up; free space or upgrade it, then run again",
        403: "the token has no permission for this; use one with write permission, or ask the "
        "owner (or the quota of private storage is used up)",
        404: "it does not exist; check owner and name",
        413: "the request is too large for the Hub; use --as parquet, which sends fewer files",
        507: "the account's storage quota is used up; free space or upgrade it, then run again",
    }
    if status in lines:
        return SetupError(f"{doing} {repo_id}: {lines[status]} (HTTP {status})")
    if isinstance(error, OSError) and status is None and error.errno is not None:
        return error
    return DataError(f"{doing} {repo_id} failed: {said}")


def _retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header: a number, or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
