"""What a sample of a WebDataset says of its images in texts beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.formats.tar_members import Kind, Member

_LARGEST = 16 << 20  # bytes of one text
_CLASS = "cls"
_CATEGORY = "category"


def read_sample(members: Sequence[Member], file: BinaryIO, tar: str) -> Mapping[str, Any]:
    """The keys of a sample's JSON as columns, and its ``.cls`` as ``cls`` and ``category``.

    Args:
        members: those of the sample.
        file: the open tar; sought in.
        tar: its path, for messages.

    Raises:
        DataError: if a JSON is malformed, or a text is far too long.
    """
    row: dict[str, Any] = {}
    for member in members:
        ending = member.path.rpartition("/")[2][1:].partition(".")[2].lower()
        if member.kind is not Kind.FILE or ending not in ("json", _CLASS):
            continue
        where = f"{tar!r}, member {member.path!r},"
        text = _read(member, file, where)
        if ending == _CLASS:
            row |= {_CLASS: text.strip(), _CATEGORY: text.strip()}
            continue
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise DataError(f"{where} is no JSON; is it cut off?") from None
        row |= said if isinstance(said, dict) else {}
    return row


def _read(member: Member, file: BinaryIO, where: str) -> str:
    if member.size > _LARGEST:
        raise DataError(f"{where} is longer than {_LARGEST >> 20} MB; that is no annotation")
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text") from None
