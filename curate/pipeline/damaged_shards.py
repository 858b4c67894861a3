"""Committed shards whose files are no longer what was written, as on a disk with errors.

They are removed before the output is assembled, so that they are done again.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.core.protocols import Source, iter_containers
from curate.engine.shards import find_damage, iter_files, shard_name
from curate.manifest import store
from curate.manifest.store import DATA
from curate.pipeline.run import Run
from curate.pipeline.workspace import Workspace
from curate.storage.regular import iter_text_lines

_THREADS = 4
_SECONDS_PER_LINE = 60.0


def discard_damaged(run: Run[Any], shards: int) -> dict[int, str]:
    """Remove committed shards of which a file is not what was written.

    Args:
        run: the run; an earlier attempt may have moved images to where OUT is assembled.
        shards: number of shards.

    Returns:
        What differs, by the number of the shard.

    Raises:
        LockedError: if another process has taken over the assembly of the output.
    """
    workspace, source = run.workspace, run.source
    run.check_unchanged()
    _discard_containers(workspace, source)
    check = partial(_find_damage, workspace, next(iter_containers(source), None) is None)
    found: dict[int, str] = {}
    said = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, damage in enumerate(pool.map(check, range(shards))):
            if damage is not None:
                found[number] = damage
            if time.monotonic() - said > _SECONDS_PER_LINE:
                run.session.notify(f"Checked {number + 1:,} of {shards:,} shards.")
                said = time.monotonic()
    run.check_unchanged()
    for name in map(shard_name, found):
        removed = workspace.staging / f"{name}.{secrets.token_hex(8)}"
        (workspace.shards / name).rename(removed)
        _remove_moved(removed, workspace.final)
        shutil.rmtree(removed, ignore_errors=True)
    return found


def _remove_moved(folder: Path, final: Path) -> None:
    """Remove images that were moved, as an image may be withheld when it is done again."""
    with suppress(OSError, ValueError, TypeError):
        for path, _ in iter_files(folder):
            (final / path).unlink(missing_ok=True)


def _find_damage(workspace: Workspace, loose: bool, number: int) -> str | None:
    folder, data = workspace.shards / shard_name(number), workspace.final / DATA

    def moved(path: str) -> Path | None:
        top, _, name = path.partition("/")
        if top != DATA:
            return folder / path
        if loose:
            return data / name
        if any((data / above).is_file() for above in PurePosixPath(name).parents):
            return None  # in a container that was rebuilt
        return workspace.members / name

    return find_damage(folder, moved)


def _discard_containers(workspace: Workspace, source: Source) -> None:
    """Remove rebuilt containers that have changed; the shards of their images are done again."""
    if not workspace.rebuilt.is_dir():
        return
    for number, container in enumerate(iter_containers(source)):
        target = workspace.final / DATA / container
        if target.exists() and not _is_intact(target, workspace.notes_of_container(number)):
            target.unlink()


def _is_intact(container: Path, notes: Path) -> bool:
    """Whether a rebuilt container has the digest in the last line of its notes."""
    try:
        (last,) = deque(map(json.loads, iter_text_lines(notes)), maxlen=1)
        return bool(last["sha256"] == store.digest_regular(container))
    except (OSError, DataError, ValueError, TypeError, KeyError):
        return False
