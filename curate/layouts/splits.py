"""The split that the name of a file or folder tells, such as ``instances_val2017.json``."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_SPLIT = re.compile(
    r"(?:^|[_.\-])(train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?)(?=$|[\d_.\-])",
    re.IGNORECASE,
)


def split_in(name: str) -> str | None:
    """The split that a name begins with or has as a word of its own, in lower case."""
    found = _SPLIT.search(name)
    return found.group(1).lower() if found else None


def split_of_folders(path: str) -> str | None:
    """The split that the outermost telling folder of a path names, or None."""
    splits = (split_in(folder) for folder in PurePosixPath(path).parts[:-1])
    return next((split for split in splits if split), None)
