"""The files of an output: which must be there, and that there are no others."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curate.manifest import store
from curate.manifest.others import iter_others
from curate.manifest.store import DATA as DATA
from curate.manifest.store import MANIFEST as MANIFEST
from curate.storage.regular import iter_short_lines, open_regular


@dataclass(frozen=True, slots=True)
class Problem:
    """One difference between an output and its manifest.

    Args:
        kind: ``manifest``, ``missing``, ``extra``, ``changed``, ``leak``, ``source``, ``pixels``,
            ``signature`` or ``edited`` (a published card).
        path: relative to OUT, as found; it may contain control characters.
        detail: what differs, in one line.
    """

    kind: str
    path: str
    detail: str


CHECKSUM_FILES = frozenset({store.CHECKSUMS, store.SIGNATURE})
"""Digests of the manifest's files, and their signature."""

REVIEW = "review.json"
"""Result of a review of the run, if there was one."""

ROOT_FILES = frozenset(
    {
        "README.md", "LICENSE", ".gitattributes", "croissant.json", "CITATION.cff", "card.toml",
        "before_after.jpg",
    }
)  # fmt: skip
"""Files that are allowed beside ``data/`` and ``manifest/``, for publishing."""
PICTURE = "before_after.jpg"
"""The only picture among them; the check of the card compares it with the example."""
_FOLDERS = frozenset({DATA, MANIFEST})


def stays_inside(path: str) -> bool:
    """Whether a path in a manifest is relative, normalized, and stays below its folder."""
    pure = PurePosixPath(path)
    return (
        str(pure) == path
        and path != "."
        and "\0" not in path
        and not pure.is_absolute()
        and ".." not in pure.parts
    )


def check_layout(out: Path, parts: int) -> Iterator[Problem]:
    """Find missing and unknown files in OUT and its manifest, but not below ``data/``.

    Args:
        out: the output folder.
        parts: number of parts of the manifest.

    Raises:
        OSError: if a folder cannot be listed.
    """
    for name in (DATA, MANIFEST):
        if not (out / name).is_dir():
            yield Problem("missing", name, "is not a folder")
    with os.scandir(out) as found:
        for entry in sorted(found, key=lambda entry: os.fsencode(entry.name)):
            is_folder = entry.is_dir(follow_symlinks=False)
            is_known = is_folder if entry.name in _FOLDERS else _is_regular(entry, ROOT_FILES)
            if not is_known and not is_git(entry):
                yield Problem("extra", entry.name, "is not part of this run")
    files = frozenset({store.RUN, store.OTHERS, store.LOG, store.KEY, REVIEW, *CHECKSUM_FILES})
    yield from _check_folder(out, PurePosixPath(MANIFEST), files)
    yield from check_records(out, parts)
    yield from _check_log(out)
    yield from _check_key(out)


def is_git(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of OUT is that of a Git repository; a file in worktrees and submodules."""
    is_link = entry.is_symlink()
    return entry.name == ".git" and not is_link and (entry.is_dir() or entry.is_file())


def _is_regular(entry: os.DirEntry[str], names: frozenset[str]) -> bool:
    return entry.name in names and entry.is_file(follow_symlinks=False)


def _check_folder(out: Path, folder: PurePosixPath, names: frozenset[str]) -> Iterator[Problem]:
    if not (out / folder).is_dir():
        return
    with os.scandir(out / folder) as found:
        for entry in found:
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name == store.RECORDS_FOLDER and is_folder:
                continue
            if not _is_regular(entry, names):
                yield Problem(
                    "extra", str(folder / entry.name), "is not part of a manifest; move it away"
                )


def check_records(out: Path, parts: int) -> Iterator[Problem]:
    """Find unknown files among the parts of a manifest.

    Args:
        out: the output folder.
        parts: number of parts of the manifest.
    """
    folder = PurePosixPath(MANIFEST, store.RECORDS_FOLDER)
    if not (out / folder).is_dir():
        return
    with os.scandir(out / folder) as found:
        for entry in found:
            number = store.part_number(entry.name)
            known = number is not None and number < parts
            if not (known and entry.is_file(follow_symlinks=False)):
                yield Problem(
                    "extra", str(folder / entry.name), "is not part of a manifest; move it away"
                )


_MAX_LOG = 100_000  # lines; a run adds a few


def _check_log(out: Path) -> Iterator[Problem]:
    path, number = PurePosixPath(MANIFEST, store.LOG), 0
    if not os.path.lexists(out / path):
        return
    try:
        with open_regular(out / path) as file:
            for number, line in enumerate(iter_short_lines(file), start=1):
                if number > _MAX_LOG:
                    yield Problem("manifest", str(path), f"has more than {_MAX_LOG:,} lines")
                    return
                if not isinstance(json.loads(line.decode()), dict):
                    yield Problem("manifest", str(path), f"line {number} is not a JSON object")
                    return
    except OSError as error:
        yield Problem("manifest", str(path), error.strerror or "cannot be read")
    except (ValueError, RecursionError):
        yield Problem("manifest", str(path), f"line {number} is not valid JSON")


def _check_key(out: Path) -> Iterator[Problem]:
    path = PurePosixPath(MANIFEST, store.KEY)
    if not os.path.lexists(out / path):
        return
    try:
        with open_regular(out / path) as file:
            if not re.fullmatch(rb"[0-9a-f]{64}\n", file.read(128)):
                yield Problem("manifest", str(path), "is not a key of 64 hexadecimal digits")
    except OSError as error:
        yield Problem("manifest", str(path), error.strerror or "cannot be read")


def check_kinds(folder: Path) -> Iterator[Problem]:
    """Find what is neither a regular file nor a folder below ``data/``; links are not followed.

    Args:
        folder: an OUT's ``data/``.

    Raises:
        OSError: if a folder cannot be listed.
    """
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        with os.scandir(parent) as found:
            for entry in found:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(Path(entry.path))
                elif not stat.S_ISREG(mode):
                    path = Path(DATA, Path(entry.path).relative_to(folder))
                    yield Problem("extra", str(path), "an output holds regular files only")


def check_extra(listed: Iterator[str], present: Iterator[str]) -> Iterator[Problem]:
    """Find files and empty folders in ``data/`` that the manifest does not list, or lists twice.

    Args:
        listed: paths in the manifest, relative to ``data/``, sorted as bytes.
        present: paths of existing files, sorted as bytes, and empty folders with
            a trailing ``/``.
    """
    known = map(os.fsencode, listed)
    expected = next(known, None)
    last = None
    for path in map(os.fsencode, present):
        while expected is not None and expected <= path:
            if expected == last:
                yield Problem("manifest", _shown(expected), "is listed more than once")
            last, expected = expected, next(known, None)
            # Missing files are reported with their entries.
        if path.endswith(b"/"):
            if expected is None or not expected.startswith(path):  # else its files are missing
                yield Problem("extra", _shown(path), "is an empty folder")
        elif last != path:
            yield Problem("extra", _shown(path), "is not in the manifest")


def _shown(path: bytes) -> str:
    return f"{DATA}/{os.fsdecode(path)}"


def iter_outputs(manifest: Path) -> Iterator[str]:
    """Paths of the written images in a manifest, sorted as bytes."""
    for entry in store.iter_entries(manifest / store.RECORDS_FOLDER):
        if entry.output_path is not None:
            yield entry.output_path


def iter_root_files(manifest: Path) -> Iterator[str]:
    """Paths of the other files of an output in its manifest, sorted as bytes."""
    return (other.path for other in iter_others(manifest) if other.is_there)
