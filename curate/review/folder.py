"""The folder of a review: its journal, what it is about, and the draw of its sample.

::

    faces.review/
      journal.jsonl   every decision; the only file that cannot be made again
      inputs.json     where SOURCE, the boxes or OUT are on this machine
      sample.json     which images were drawn, and how
      server.json     port and token of the last server, so that an open page can go on
      queue.sqlite    made anew at every start

It contains file names and boxes of faces, never pixels.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, LockedError, UsageError
from curate.layouts.access.address import is_address
from curate.manifest.store import save_json
from curate.review import journal
from curate.review.sampling import Plan
from curate.storage.lock import FolderLock
from curate.storage.regular import load_json

QUEUE, PROPOSED = "queue.sqlite", "proposed.sqlite"
_INPUTS, _SAMPLE, _SERVER = "inputs.json", "sample.json", "server.json"
_NAMES = (journal.NAME, QUEUE, PROPOSED, _INPUTS, _SAMPLE, _SERVER, "lock")
"""How the names of files begin that are in the folder before the first decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Where everything is that a review is about; on this machine only.

    Args:
        source: the dataset, or None where outputs are reviewed without it.
        layout: its layout, or ``auto``.
        faces: a file of proposed boxes, or None.
        run: an OUT whose outputs are reviewed, or None.
    """

    source: str | None
    layout: str = "auto"
    faces: str | None = None
    run: str | None = None


def choose_folder(inputs: Inputs, given: Path | None, sample: bool) -> Path:
    """The review folder: as given, or named after the boxes, OUT or SOURCE.

    Args:
        inputs: what the review is about.
        given: the user's choice, or None.
        sample: whether it is a sample, which is a review of its own.

    Raises:
        UsageError: if the user's choice is inside SOURCE or OUT.
    """
    ending = ".sample" if sample else ".review"
    if given is not None:
        chosen = given
    elif inputs.faces is not None:
        chosen = Path(inputs.faces).with_suffix(ending)
    elif inputs.run is not None:
        chosen = Path(inputs.run).with_name(Path(inputs.run).name + ending)
    else:
        chosen = Path(_name_source(inputs.source or "") + ending)
    for read, name in ((inputs.source, "SOURCE"), (inputs.run, "OUT")):
        if read is None or is_address(read) or not _is_inside(chosen, Path(read)):
            continue
        if given is not None or not Path(read).name:
            raise UsageError(f"the review folder {chosen} is inside {name}, which is only read; "
                             "choose another with --folder")  # fmt: skip
        chosen = Path(read).with_name(Path(read).name + ending)
    return chosen


def _name_source(source: str) -> str:
    """The name of a dataset: of its folder, or of its file without endings."""
    parts = [part for part in source.split("/") if part and "{" not in part]
    name = parts[-1] if parts else "dataset"
    return name if Path(source).is_dir() else name.split(".")[0] or "dataset"


def _is_inside(folder: Path, read: Path) -> bool:
    return folder.resolve().is_relative_to(read.resolve())


def find_folder(given: Path | None) -> Path:
    """The folder of an existing review: as given, or the only one in the current folder.

    Raises:
        UsageError: if none is given and there is none, or several.
    """
    if given is not None:
        return given
    found = sorted(path.parent for path in Path().glob(f"*/{journal.NAME}"))
    if len(found) == 1:
        return found[0]
    several = ", ".join(map(str, found))
    raise UsageError(
        f"there are several reviews here ({several}); name one"
        if found
        else "there is no review in this folder; name its folder, such as faces.review"
    )


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Be the only server of a review.

    Raises:
        UsageError: if the folder is a file, or the folder of something else.
        LockedError: if another one is running.
    """
    if folder.is_file():
        raise UsageError(f"the review folder {folder} is a file; choose another with --folder")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in names if not name.startswith(_NAMES)]
    if others and journal.NAME not in names:
        raise UsageError(
            f"the review folder {folder} contains other files, such as {min(others)!r}; choose an "
            "empty or new one with --folder"
        )
    try:
        with FolderLock(folder / "lock", mode=0o700):
            yield
    except LockedError:
        raise LockedError(
            f"another curate review is running on {folder}; use its page, or stop it"
        ) from None


def save_inputs(folder: Path, inputs: Inputs) -> None:
    """Remember where everything is."""
    save_json(asdict(inputs), folder / _INPUTS)


def load_inputs(folder: Path) -> Inputs:
    """Where everything was when the review was last started.

    Raises:
        DataError: if that is not known.
    """
    try:
        value = load_json(folder / _INPUTS)
        if not all(text is None or isinstance(text, str) for text in value.values()):
            raise ValueError("a path is not a text")
        return Inputs(**value)
    except (OSError, ValueError, TypeError, AttributeError):
        raise DataError(
            f"{folder} holds no review that was begun here; start it with curate review SOURCE"
        ) from None


def check_header(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The journal's first line: of a new review, or of the one that was started.

    Args:
        folder: the review folder.
        about: the task, and digests of what is reviewed.

    Raises:
        DataError: if the journal is about something else.
    """
    path = folder / journal.NAME
    if not path.exists() or path.stat().st_size == 0:
        return {"review": secrets.token_hex(8), **about}
    header = journal.load_header(folder)
    for key, value in about.items():
        if header.get(key) != value:
            raise DataError(
                f"{folder} is a review of something else ({key} differs); choose another "
                "folder with --folder, or give the same inputs as before"
            )
    return header


def save_plan(folder: Path, plan: Plan) -> None:
    """Record a draw before anyone looks."""
    save_json({"version": 1, **plan.to_dict()}, folder / _SAMPLE)


def load_plan(folder: Path) -> Plan | None:
    """The recorded draw, or None if there is none.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return Plan.from_dict(load_json(folder / _SAMPLE))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise DataError(f"{folder / _SAMPLE} is damaged; restore it from a backup") from None


def load_server(folder: Path) -> tuple[int, str]:
    """Port and token of the last server; 0 and a new token where there was none."""
    try:
        value = load_json(folder / _SERVER)
        port, token = value["port"], value["token"]
        if type(port) is int and 0 < port < 65536 and isinstance(token, str) and len(token) > 20:
            return port, token
    except (OSError, ValueError, KeyError, TypeError, DataError):
        pass
    return 0, secrets.token_urlsafe(24)


def save_server(folder: Path, port: int, token: str) -> None:
    """Remember port and token, readable by this user only."""
    path = folder / _SERVER
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # of a file that was there already, too
    with os.fdopen(descriptor, "w") as file:
        json.dump({"port": port, "token": token}, file)
