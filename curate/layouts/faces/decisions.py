"""Who or what found each face of a file of faces: confidence, detectors and who decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.core.errors import DataError
from curate.layouts.annotations import shorten
from curate.layouts.faces.boxes import GivenFaces
from curate.layouts.sidecars.values import Limits

_DECIDED = ("confidence", "detectors", "decided_by")
_PLAIN = (str, int, float, list)
_MAX_FIELD = 1000  # characters of one of them, which a table can repeat for every face


def iter_decisions(given: GivenFaces) -> Iterator[dict[str, Any]]:
    """Iterate over these fields of the faces of an image, whose texts share the limits of a record.

    `curate verify` applies the same limits to the records of a manifest.

    Raises:
        DataError: if a field is too long, or the texts are over the limits.
    """
    limits, texts = Limits(()), {""}
    limits.begin()
    for index in range(len(given.boxes)):
        stored = given.fields[index] if given.fields else {}
        found = {key: stored[key] for key in _DECIDED if isinstance(stored.get(key), _PLAIN)}
        is_long = max(map(len, map(str, found.values())), default=0) > _MAX_FIELD
        new = set() if is_long else {text for each in found.values() for text in _texts_of(each)}
        new -= texts
        if is_long or any(limits.value("detectors", text) != text for text in sorted(new)):
            what = (
                f"of more than {_MAX_FIELD:,} characters" if is_long else "over the limits of texts"
            )
            raise DataError(
                f"the file of faces has {' or '.join(found)} {what} for {shorten(given.id)}; "
                "shorten or remove them"
            )
        texts |= new
        yield found


def _texts_of(value: Any) -> list[str]:
    """Return the texts of a field; its numbers are in the schema."""
    return (
        [str(each) for each in value] if isinstance(value, list) else [value] * (type(value) is str)
    )
