"""A dataset repository of the Hub: the calls that are needed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from curate.core.errors import DataError, MissingExtraError, SetupError, UsageError
from curate.layouts.access.hub import check_connection
from curate.publishing.hub.batches import Batch, LocalFile, RemoteFile
from curate.publishing.hub.content import load_verified
from curate.publishing.hub.retry import MissingRepositoryError, retry

CONNECT_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 300.0
"""Longest silence of the server; a large commit takes it minutes."""
MAX_FILES_LISTED = 1_000_000
"""Files that a repository may list; ten times the Hub's own limit."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN = re.compile(r"[!-~]+")
_T = TypeVar("_T")


def check_repo_id(repo_id: str) -> str:
    """Refuse what is not ``owner/name``.

    Raises:
        UsageError: if it is not of that form.
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
        notify: called with a line for the user when a request is retried.

    Raises:
        MissingExtraError: if ``huggingface_hub`` is not installed.
        SetupError: if there is no connection.
    """

    def __init__(self, repo_id: str, notify: Callable[[str], None] = lambda _: None) -> None:
        try:
            import huggingface_hub
            import huggingface_hub.errors
            import huggingface_hub.utils
        except ImportError:
            raise MissingExtraError("the Hub", "huggingface_hub", "publish") from None
        self.repo_id = repo_id
        check_connection()
        if (token := huggingface_hub.get_token()) is not None and not _TOKEN.fullmatch(token):
            raise SetupError(
                "the Hugging Face token holds characters that no token has; set HF_TOKEN again, "
                "or run `hf auth login`"
            )
        self.endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        self._hub: Any = huggingface_hub
        self._hub.utils.disable_progress_bars()
        self._hub.utils.logging.set_verbosity_error()
        self._api: Any = huggingface_hub.HfApi(endpoint=self.endpoint, library_name="curate")
        # On its own the client waits for a silent server forever.
        self._hub.utils.get_session().timeout = (
            CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S, ANSWER_TIMEOUT_S, None
        )  # fmt: skip
        self._notify = notify

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
            lambda: self._api.dataset_info(
                self.repo_id, revision=revision, timeout=ANSWER_TIMEOUT_S
            ),
        )
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise DataError(f"{self.endpoint} did not answer with a commit of {self.repo_id}")
        return info.sha

    def is_private(self) -> bool:
        """Whether only its owner and who they let in can see it."""
        info = self._try(
            "reading the repository",
            lambda: self._api.dataset_info(self.repo_id, timeout=ANSWER_TIMEOUT_S),
        )
        return bool(info.private)

    def tree(self, revision: str) -> dict[str, RemoteFile]:
        """Every file at a revision, by path."""
        return self._try("listing the repository", lambda: dict(self._iter_tree(revision)))

    def _iter_tree(self, revision: str) -> Iterator[tuple[str, RemoteFile]]:
        listed = self._api.list_repo_tree(
            self.repo_id, recursive=True, revision=revision, repo_type="dataset"
        )
        for number, item in enumerate(listed):
            if number == MAX_FILES_LISTED:
                raise DataError(f"{self.repo_id} lists more than {MAX_FILES_LISTED:,} files")
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
            DataError: if a file differs from the whitelist.
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
        """Name a commit; a tag of that name on another commit is moved."""
        found = self.tags().get(name)
        if found == revision:
            return
        if found is not None:
            self._try("moving the tag", lambda: self._remove_tag(name))
        self._try(
            "writing the tag",
            lambda: self._api.create_tag(
                self.repo_id, tag=name, revision=revision, repo_type="dataset", exist_ok=True
            ),
        )

    def _remove_tag(self, name: str) -> None:
        with contextlib.suppress(self._hub.errors.RevisionNotFoundError):  # an answer was lost
            self._api.delete_tag(self.repo_id, tag=name, repo_type="dataset")

    def tags(self) -> dict[str, str]:
        """Commit of each tag."""
        refs = self._try(
            "reading the tags", lambda: self._api.list_repo_refs(self.repo_id, repo_type="dataset")
        )
        return {ref.name: ref.target_commit for ref in refs.tags}

    def download(self, path: str, revision: str, target: Path, size: int) -> None:
        """Download one file; after a cut connection, the rest of it.

        Args:
            path: in the repository.
            revision: the commit.
            target: where to write it; replaced.
            size: its bytes as the repository lists them; no more are ever written.

        Raises:
            DataError: if it has another size.
        """
        url = self._hub.hf_hub_url(
            self.repo_id, path, repo_type="dataset", revision=revision, endpoint=self.endpoint
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        self._try(f"downloading {path} from", lambda: self._append(url, target, size))
        if target.stat().st_size != size:
            raise DataError(f"{self.repo_id}: {path} was sent with another size than is listed")

    def _append(self, url: str, target: Path, size: int) -> None:
        """Write the part of a file that is not there yet."""
        utils = self._hub.utils
        headers = {**utils.build_hf_headers(library_name="curate"), "Accept-Encoding": "identity"}
        with target.open("ab") as file:
            if file.tell():
                headers["Range"] = f"bytes={file.tell()}-"
            with utils.get_session().stream("GET", url, headers=headers) as response:
                utils.hf_raise_for_status(response)
                if response.status_code != 206:
                    file.truncate(0)
                left = size - os.fstat(file.fileno()).st_size
                for block in response.iter_bytes():
                    left -= len(block)
                    if left < 0:
                        raise DataError(f"{self.repo_id}: {url} is larger than it is listed")
                    file.write(block)

    def _try(self, doing: str, call: Callable[[], _T]) -> _T:
        return retry(call, self._notify, doing, self.repo_id)
