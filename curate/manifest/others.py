"""``others.jsonl``: the files of a dataset that are not images, and whether each was copied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from curate.core.errors import ManifestError, describe_malformed
from curate.storage.regular import iter_short_lines, open_regular

OTHERS = "others.jsonl"
OUTCOMES = ("carried", "rebuilt", "left_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A file that is not an image.

    Args:
        path: relative to SOURCE and, if copied, to ``OUT/data``.
        carried: whether it was copied, or written again from its content.
        rebuilt: whether it contains images and was written again with their outputs.
        sha256: digest of the file in the output.
        bytes: its size.
        reason: why it was left out.
        included: whether it was copied unread, as the user asked.
        withheld: whether it is a label map that was left out because it may show a face.
    """

    path: str
    carried: bool
    rebuilt: bool = False
    sha256: str | None = None
    bytes: int | None = None
    reason: str | None = None
    included: bool = False
    withheld: bool = False

    def __post_init__(self) -> None:
        values = (self.sha256, self.bytes, self.reason)
        wanted = (str, int, type(None)) if self.is_there else (type(None), type(None), str)
        flags = (self.carried, self.rebuilt, self.included, self.withheld)
        if type(self.path) is not str or {*map(type, flags)} != {bool}:
            raise TypeError("path is not a string, or another value not a boolean")
        if (self.carried and self.rebuilt) or (self.included and not self.carried):
            raise TypeError("carried and rebuilt, or included and not carried, cannot both be true")
        if self.withheld and self.is_there:
            raise TypeError("a file in the output is not withheld")
        if tuple(map(type, values)) != wanted:
            raise TypeError("a file in the output has sha256 and bytes, any other has a reason")
        self.path.encode()  # a lone surrogate, which JSON can contain, is not a valid name

    @property
    def outcome(self) -> str:
        """What became of it, one of `OUTCOMES`."""
        return "carried" if self.carried else "rebuilt" if self.rebuilt else "left_out"

    @property
    def is_there(self) -> bool:
        """Whether it is in the output."""
        return self.carried or self.rebuilt


def iter_others(manifest: Path) -> Iterator[Other]:
    """The lines of ``others.jsonl``, streaming.

    Raises:
        ManifestError: if the file is absent, or a line is not valid.
    """
    path, number = manifest / OTHERS, 1
    try:
        with open_regular(path) as file:
            for line in iter_short_lines(file):
                yield _parse(line.decode())
                number += 1
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ManifestError(
            f"{path}, line {number}, cannot be read: {describe_malformed(error)}"
        ) from None


def describe_notes(manifest: Path) -> str | None:
    """Describe in one line which copied files may still name removed images, or None.

    `curate balance` notes them in ``others.jsonl``.
    """
    count, first = _count(manifest, lambda line: bool(line.get("note")))
    return f"{count:,} files may still name removed images, such as {first!r}" if count else None


def _count(manifest: Path, is_counted: Callable[[Mapping[str, Any]], bool]) -> tuple[int, str]:
    """Return the number of files of which a line of ``others.jsonl`` holds, and the first."""
    count, first = 0, ""
    try:
        with open_regular(manifest / OTHERS) as file:
            for line in map(json.loads, iter_short_lines(file)):
                if is_counted(line):
                    count, first = count + 1, first or str(line["path"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return 0, ""  # found by the checks of the manifest
    return count, first


def _parse(line: str) -> Other:
    value = json.loads(line)
    known = {field.name for field in fields(Other)}
    if not isinstance(value, dict) or not known >= set(value) >= {"path", "carried"}:
        raise TypeError(f"it is not an object with the keys {', '.join(sorted(known))}")
    return Other(**value)
