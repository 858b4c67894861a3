"""``SHA256SUMS``: digests of the files of an output that no other digest covers.

The records and ``others.jsonl`` have the digest of every file of ``data/``. This file lists
them, everything else of the manifest, and the files beside ``data/``, in the format of
coreutils: ``cd OUT && sha256sum -c manifest/SHA256SUMS``.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from curate.core.arguments import checked
from curate.core.errors import ManifestError
from curate.core.records import escape_unprintable
from curate.manifest import corrections, store
from curate.manifest.files import DATA, MANIFEST, ROOT_FILES, Problem
from curate.manifest.signature import Signature, check_key, check_signature, make_signature
from curate.storage.atomic import save_bytes, save_text
from curate.storage.errors import describe_os_error
from curate.storage.regular import open_regular

PATH = f"{MANIFEST}/{store.CHECKSUMS}"
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)\n")
_MAX_LINE, _MAX_LINES = 256, 1_000_000
_SHOWN = 10
_OWN = frozenset({"README.md", "LICENSE", "CITATION.cff", ".gitattributes", "card.toml", ".git/"})
"""What people add beside ``data/`` themselves; any other file is from a command, which lists it."""
_HINT = "after a change of your own, run `curate manifest checksum`"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of an output is covered by digests, and who signed them.

    Args:
        files: number of files whose digests ``SHA256SUMS`` has.
        sha256: digest of ``SHA256SUMS``, or None if it is absent.
        uncovered: files and folders of OUT without a digest: those of the user beside ``data/``
            are no problem without a signature.
        signature: the signature of ``SHA256SUMS``.
    """

    files: int
    sha256: str | None
    uncovered: tuple[str, ...]
    signature: Signature

    def to_text(self) -> str:
        """What is covered, what is not, and what the signature states; a line each."""
        lines = []
        if self.sha256 is not None:
            lines.append(
                f"Covered: {self.files:,} files of {MANIFEST}/ and beside it by {PATH}, and every "
                f"file of {DATA}/ by the digests in them.\n  SHA-256 of {PATH}:\n  {self.sha256}"
            )
        if self.uncovered:
            more = len(self.uncovered) - _SHOWN
            shown = ", ".join(map(escape_unprintable, self.uncovered[:_SHOWN]))
            lines.append(
                f"Not covered: {shown}{f' and {more:,} more' if more > 0 else ''}; "
                "`curate manifest checksum` adds files."
            )
        return "\n".join([*lines, self.signature.to_text()])


@dataclass(frozen=True, slots=True, repr=False)
class WrittenChecksums:
    """The result of `write_checksums`.

    Args:
        coverage: what is covered now.
        changed: paths whose digest was another before, or that are gone.
    """

    coverage: Coverage
    changed: tuple[str, ...]

    def to_text(self) -> str:
        """What changed since the checksums were last written, and what is covered."""
        lines = [escape_unprintable(f"Changed: {path}") for path in self.changed]
        return "\n".join([*lines, self.coverage.to_text()])

    def __repr__(self) -> str:
        covered, changed = self.coverage.files, len(self.changed)
        return f"<WrittenChecksums: {covered:,} files covered, {changed:,} changed>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.to_text())}</pre>"


@checked
def write_checksums(out: str | Path, key: str | Path | None = None) -> WrittenChecksums:
    """Write the digests of an output's files again, after a change of one's own, and sign them.

    >>> curate.write_checksums("out", key="~/.ssh/id_ed25519")   # doctest: +SKIP

    Nothing is checked: `curate.verify` does that.

    Args:
        out: the OUT of ``blur`` or ``balance``.
        key: an SSH key, private, or public with its private key in an agent; None to
            remove a signature.

    Raises:
        ManifestError: if OUT has no manifest, or its list of digests is damaged.
        UsageError: if the key does not exist or cannot sign.
        SetupError: if a file cannot be read or written, or OpenSSH is not installed.
    """
    out = Path(out)
    manifest = out / MANIFEST
    if not any((manifest / name).is_file() for name in (store.RUN, corrections.FACTS)):
        raise ManifestError(store.describe_missing(manifest))
    key = None if key is None else Path(key).expanduser()
    if key is not None:
        check_key(key)
    try:
        before, now = load_checksums(out), _digest_files(out)
        signature = None if key is None else make_signature(_format(now).encode(), key)
        _save(out, now)  # only now: a key that cannot sign leaves everything as it was
        if signature is None:
            (manifest / store.SIGNATURE).unlink(missing_ok=True)
        else:
            save_bytes(manifest / store.SIGNATURE, signature)
        return WrittenChecksums(check_checksums(out)[0], _list_changed(before, now))
    except OSError as error:
        raise describe_os_error(error, out, "written") from error


def save_checksums(out: Path) -> tuple[str, ...]:
    """Write the ``SHA256SUMS`` of an output as it is now, atomically.

    Returns:
        Paths that were listed before with another digest, or are gone.

    Raises:
        ManifestError: if the list that is there is damaged.
    """
    before, now = load_checksums(out), _digest_files(out)
    _save(out, now)
    return _list_changed(before, now)


def _digest_files(out: Path) -> dict[str, str]:
    return {path: store.digest_regular(out / path) for path in sorted(_iter_paths(out))}


def _list_changed(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(path for path, digest in before.items() if now.get(path) != digest)


def update_checksums(out: Path, paths: Iterable[str]) -> None:
    """Write the digests of files that a command has just written to an output.

    Args:
        out: the output folder; nothing is done if it has no ``SHA256SUMS``.
        paths: relative to it.
    """
    known = load_checksums(out)
    if known:
        _save(out, known | {path: store.digest_regular(out / path) for path in paths})


def load_checksums(out: Path) -> dict[str, str]:
    """Load the digests in ``SHA256SUMS`` by path relative to OUT; empty if it is absent.

    Raises:
        ManifestError: if it cannot be read.
    """
    found: dict[str, str] = {}
    try:
        with open_regular(out / PATH) as file:
            while line := file.readline(_MAX_LINE).decode("ascii"):
                match = _LINE.fullmatch(line)
                if match is None or not _may_list(match[2]) or len(found) == _MAX_LINES:
                    raise ValueError
                if found and match[2] <= next(reversed(found)):
                    raise ValueError
                found[match[2]] = match[1]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ManifestError(f"{out / PATH} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ManifestError(
            f"{out / PATH}, line {len(found) + 1}, is not the digest of a file of an output"
        ) from None
    return found


def check_checksums(
    out: Path, signed_by: Path | None = None
) -> tuple[Coverage, tuple[Problem, ...]]:
    """Compare the files of an output with its ``SHA256SUMS``.

    Args:
        out: the output folder.
        signed_by: public keys of which one must have signed, or None.

    Returns:
        What is covered, and what differs.

    Raises:
        ManifestError: if ``SHA256SUMS`` is damaged.
        UsageError: if the file of public keys cannot be used.
        SetupError: if a signature is asked for and cannot be checked here.
    """
    known = load_checksums(out)
    problems = list(_iter_changes(out, known))
    uncovered = sorted({*_iter_paths(out)} - {*known})
    if (out / ".git").is_dir():
        uncovered.append(".git/")
    signature = check_signature(out / PATH, signed_by) if known else Signature()
    if signature.problem is not None:
        problems.append(Problem("signature", PATH, signature.problem))
    if signed_by is None:
        unlisted = (path for path in uncovered if known and path not in _OWN)
        problems += [
            Problem("manifest", path, f"is not in SHA256SUMS; {_HINT}") for path in unlisted
        ]
    else:
        if not known:
            problems.append(Problem("signature", PATH, "there is nothing that is signed"))
        problems += [Problem("signature", path, "is not in SHA256SUMS") for path in uncovered]
    digest = store.digest_regular(out / PATH) if known else None
    return Coverage(len(known), digest, tuple(uncovered), signature), tuple(problems)


def _iter_changes(out: Path, known: dict[str, str]) -> Iterator[Problem]:
    if not known:
        yield Problem("missing", PATH, f"nothing covers the files of the manifest; {_HINT}")
    for path, digest in known.items():
        try:
            found = store.digest_regular(out / path)
        except OSError as error:
            yield Problem("missing", path, f"{error.strerror or 'cannot be read'}; {_HINT}")
            continue
        if found != digest:
            yield Problem("changed", path, f"its bytes differ from {PATH}; {_HINT}")


def _iter_paths(out: Path) -> Iterator[str]:
    """Paths of the files that the list covers; what else is there is reported by other checks."""
    with os.scandir(out) as found:
        names = [entry.name for entry in found if entry.is_file(follow_symlinks=False)]
    yield from (name for name in names if name in ROOT_FILES)
    for folder in (MANIFEST, f"{MANIFEST}/{store.RECORDS_FOLDER}"):
        if not (out / folder).is_dir():
            continue
        with os.scandir(out / folder) as found:
            paths = [f"{folder}/{e.name}" for e in found if e.is_file(follow_symlinks=False)]
        yield from filter(_may_list, paths)


def _may_list(path: str) -> bool:
    """Whether a path can be in the list: beside ``data/``, or in the manifest."""
    folder, _, name = path.rpartition("/")
    if not folder:
        return name in ROOT_FILES
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None
    in_manifest = folder in (MANIFEST, f"{MANIFEST}/{store.RECORDS_FOLDER}")
    return plain and in_manifest and name not in (store.CHECKSUMS, store.SIGNATURE)


def _save(out: Path, digests: dict[str, str]) -> None:
    save_text(out / PATH, _format(digests))


def _format(digests: Mapping[str, str]) -> str:
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))
