"""Whether an OUT holds the files of a run, and nothing else."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from curate.manifest import store
from curate.manifest.others import iter_others
from curate.manifest.problems import Problem
from curate.storage.regular import open_regular

DATA = "data"
MANIFEST = "manifest"
BESIDE = frozenset(
    {
        "README.md", "LICENSE", ".gitattributes", "croissant.json", "CITATION.cff", "card.toml",
        "before_after.jpg",
    }
)  # fmt: skip
"""Files that may stand beside data/ and manifest/ in an OUT that is being published."""
_FOLDERS = frozenset({DATA, MANIFEST, ".git"})


def stays_inside(path: str) -> bool:
    """Whether a manifest's path names a file below its folder, in the one way to write it."""
    pure = PurePosixPath(path)
    return (
        str(pure) == path
        and path != "."
        and "\0" not in path
        and not pure.is_absolute()
        and ".." not in pure.parts
    )


def check_layout(out: Path, parts: int) -> Iterator[Problem]:
    """Find what is missing or foreign in OUT and its manifest; ``data/`` is not looked into.

    Args:
        out: the output folder.
        parts: how many parts the manifest has.

    Raises:
        OSError: if a folder cannot be listed.
    """
    for name in (DATA, MANIFEST):
        if not (out / name).is_dir():
            yield Problem("missing", name, "is no folder")
    with os.scandir(out) as found:
        for entry in sorted(found, key=lambda entry: os.fsencode(entry.name)):
            is_folder = entry.is_dir(follow_symlinks=False)
            if not (is_folder if entry.name in _FOLDERS else _is_regular(entry, BESIDE)):
                yield Problem("extra", entry.name, "is not of this run")
    files = frozenset({store.RUN, store.OTHERS, store.LOG, store.KEY})
    yield from _check_folder(out, PurePosixPath(MANIFEST), files)
    yield from check_records(out, parts)
    yield from _check_log(out)
    yield from _check_key(out)


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
                yield Problem("extra", str(folder / entry.name), "is not part of a manifest")


def check_records(out: Path, parts: int) -> Iterator[Problem]:
    """Find what is foreign among a manifest's parts.

    Args:
        out: the output folder.
        parts: how many parts the manifest has.
    """
    folder = PurePosixPath(MANIFEST, store.RECORDS_FOLDER)
    if not (out / folder).is_dir():
        return
    with os.scandir(out / folder) as found:
        for entry in found:
            number = store.part_number(entry.name)
            known = number is not None and number < parts
            if not (known and entry.is_file(follow_symlinks=False)):
                yield Problem("extra", str(folder / entry.name), "is not part of a manifest")


def _check_log(out: Path) -> Iterator[Problem]:
    path, number = PurePosixPath(MANIFEST, store.LOG), 0
    if not os.path.lexists(out / path):
        return
    try:
        with open_regular(out / path) as file:
            for number, line in enumerate(file, start=1):
                if not isinstance(json.loads(line.decode()), dict):
                    yield Problem("manifest", str(path), f"line {number} is no JSON object")
                    return
    except OSError as error:
        yield Problem("manifest", str(path), error.strerror or "cannot be read")
    except (ValueError, RecursionError):
        yield Problem("manifest", str(path), f"line {number} is no JSON")


def _check_key(out: Path) -> Iterator[Problem]:
    path = PurePosixPath(MANIFEST, store.KEY)
    if not os.path.lexists(out / path):
        return
    try:
        with open_regular(out / path) as file:
            if not re.fullmatch(rb"[0-9a-f]{64}\n", file.read(128)):
                yield Problem("manifest", str(path), "is no key")
    except OSError as error:
        yield Problem("manifest", str(path), error.strerror or "cannot be read")


def check_kinds(folder: Path) -> Iterator[Problem]:
    """Find what is neither a file nor a folder below ``data/``; links are not followed.

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
    """Find what stands below ``data/`` and the manifest does not know, or knows twice.

    Args:
        listed: paths that the manifest knows, relative to ``data/``, sorted as bytes.
        present: paths that are there, sorted as bytes.
    """
    known = map(os.fsencode, listed)
    expected = next(known, None)
    last = None
    for path in map(os.fsencode, present):
        while expected is not None and expected <= path:
            if expected == last:
                yield Problem("manifest", _shown(expected), "is listed more than once")
            last, expected = expected, next(known, None)
            # Files that are listed and missing are reported with their entries.
        if last != path:
            yield Problem("extra", _shown(path), "the manifest does not know it")


def _shown(path: bytes) -> str:
    return f"{DATA}/{os.fsdecode(path)}"


def iter_outputs(manifest: Path) -> Iterator[str]:
    """Paths of the images that the manifest says are written, in the order of their bytes."""
    for entry in store.iter_entries(manifest / store.RECORDS_FOLDER):
        if entry.output_path is not None:
            yield entry.output_path


def iter_files_beside(manifest: Path) -> Iterator[str]:
    """Paths of the other files that the manifest says are there, in the order of their bytes."""
    return (other.path for other in iter_others(manifest) if other.is_there)
