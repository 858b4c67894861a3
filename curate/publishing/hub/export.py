"""Write a whitelist to a folder or an fsspec URL instead of the Hub."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curate.core.errors import SetupError, UsageError
from curate.publishing.hub.batches import CARD_FILES, LocalFile
from curate.publishing.hub.content import load_verified

_DRAFT = ".partial"


def export_tree(files: Sequence[LocalFile], uri: str, notify: Callable[[str], None]) -> None:
    """Write every file, the card last; files that are there already are compared and kept.

    Args:
        files: the whitelist.
        uri: a folder or an fsspec URL.
        notify: called with a line for the user.

    Raises:
        UsageError: if it has files of something else.
        SetupError: if it cannot be written.
    """
    ordered = sorted(files, key=lambda file: (file.path in CARD_FILES, file.path))
    system, root = check_target(files, uri)
    try:
        for file in ordered:
            target = f"{root.rstrip('/')}/{file.path}"
            if not _is_there(system, target, file):
                _write(system, target, file)
    except OSError as error:
        raise SetupError(f"--to {uri!r} cannot be written: {error}") from None
    notify(f"wrote {len(ordered):,} files to {uri}")


def check_target(files: Sequence[LocalFile], uri: str) -> tuple[Any, str]:
    """Check a folder or URL before anything is written; returns its file system, and its path.

    Raises:
        UsageError: if it has files of something else.
        SetupError: if it cannot be read.
    """
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(uri)
        _refuse_others(system, root, {file.path for file in files}, uri)
    except (ImportError, ValueError) as error:
        raise UsageError(f"--to {uri!r} cannot be used: {error}") from None
    except OSError as error:
        raise SetupError(f"--to {uri!r} cannot be written: {error}") from None
    return system, root


def _refuse_others(system: Any, root: str, known: set[str], uri: str) -> None:
    if not system.exists(root):
        return
    if system.isfile(root):
        raise UsageError(f"--to {uri!r} is a file; name a new folder")
    base = root.rstrip("/")
    for found in system.find(base):
        inner = found[len(system._strip_protocol(base)) :].lstrip("/")
        if inner.removesuffix(_DRAFT) not in known:
            raise UsageError(
                f"--to {uri!r} holds {inner!r}, which is not a file of this dataset; "
                "name a new folder"
            )


def _is_there(system: Any, target: str, file: LocalFile) -> bool:
    if not system.exists(target) or system.size(target) != file.bytes:
        return False
    digest = hashlib.sha256()
    with system.open(target, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == file.sha256


def _write(system: Any, target: str, file: LocalFile) -> None:
    """Write one file; on a local disk it appears at once."""
    content = load_verified(file)
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    protocols = system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)
    draft = f"{target}{_DRAFT}" if "file" in protocols else target
    with system.open(draft, "wb") as stream:
        if isinstance(content, bytes):
            stream.write(content)
        else:
            with Path(content).open("rb") as source:
                shutil.copyfileobj(source, stream, 1 << 20)
    if draft != target:
        Path(draft).replace(target)
