"""Which labels each image of a dataset carries: one, several or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curate.balance.audit.inputs import Input, open_input
from curate.core.protocols import Source
from curate.core.records import printable
from curate.layouts.faces.truth import format_value

CATEGORY, SPLIT = "category", "split"


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image's labels.

    Args:
        id: the record's id.
        split: its split, or None.
        categories: its labels, sorted; several where its annotations speak of several things.
    """

    id: str
    split: str | None
    categories: tuple[str, ...]


def iter_categories(source: Source) -> Iterator[Labelled]:
    """The labels of every image, by folder, class label or annotations, sorted by id.

    Raises:
        DataError: if the annotations are malformed, or there are no images.
        SetupError: if there is no space for the temporary index.
    """
    given = Input(source, None, None, None, (CATEGORY,), per_person=False)
    with open_input(given) as read:
        for name, rows in read.records:
            values = (value for row in rows for value in _values(row.get(CATEGORY)))
            split = next(_values(rows[0].get(SPLIT)), None)
            yield Labelled(name, split, tuple(sorted(set(values))))


def _values(given: object) -> Iterator[str]:
    for value in given if isinstance(given, list) else [given]:
        if (text := format_value(value)) is not None:
            yield printable(text)
