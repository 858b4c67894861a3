"""Lists of images, a line each: dropped with their images, repeated for the images made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

from curate.formats.annotations import iter_stored_lines

Decide = Callable[[str, str], tuple[bool, Iterable[str]]]
"""Says of a line without its end, and of what a message calls it, whether it is kept, and
which lines follow."""


def edit_lines(file: BinaryIO, name: str, decide: Decide, target: BinaryIO) -> bool:
    """Write a list with each kept line as it is stored; returns whether it changed.

    Args:
        file: the list.
        name: what messages call it.
        decide: what becomes of each line.
        target: where to write.

    Raises:
        DataError: if a line is no text.
    """
    changed, last, end = False, b"\n", b"\n"
    for where, line, stored in iter_stored_lines(file, name):
        text = line.rstrip("\r\n")
        kept, added = decide(text, where)
        if stored.endswith(b"\n"):  # else it is the last line, to be ended as those before
            end = b"\r\n" if stored.endswith(b"\r\n") else b"\n"
        new = [each.encode() + end for each in added]
        changed |= not kept or bool(new)
        for each in [stored, *new] if kept else new:
            if not last.endswith(b"\n"):
                target.write(end)
            target.write(each)
            last = each
    return changed
