"""What is said of one record, from the dataset itself and from a table, as its rows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from curate.balance.annotated import Fit, Joined, Row
from curate.core.errors import DataError
from curate.core.records import escape_unprintable


def merge_rows(joined: Joined, of_people: Collection[str]) -> list[Row]:
    """One row for each person: the table's word counts before the dataset's own.

    Args:
        joined: all that is said of a record.
        of_people: columns in which people differ who are counted one by one.

    Raises:
        DataError: if dataset and table both speak of several people: nothing says who is who.
    """
    if not joined.rows:
        return [{**joined.record, **own} for own in joined.own] or [joined.record]
    several = joined.own if len(joined.own) > 1 else []
    twofold = next((name for own in several for name in own if name in of_people), None)
    if twofold is not None:
        raise DataError(
            f"{escape_unprintable(joined.name)}: the dataset itself gives the {twofold} of several "
            "people, and the table speaks of others; to count people, put all into the table"
        )
    base = dict(joined.record)
    if len(joined.own) == 1:
        base |= joined.own[0]
    else:
        names = dict.fromkeys(name for own in joined.own for name in own)
        base |= {name: [own.get(name) for own in joined.own] for name in names}
    return [{**base, **row} for row in joined.rows]


def check_fit(fit: Fit, table: Path) -> None:
    """Refuse a table that speaks of no record.

    Raises:
        DataError: if there is no id in it that means one.
    """
    if fit.matched:
        return
    if fit.ambiguous:
        raise DataError(
            f"each of the {fit.ambiguous:,} ids of {table} that could be a record, such as "
            f"{fit.ambiguous_examples[0]!r}, could mean several; give more of their paths"
        )
    example = next(iter(fit.unmatched_examples), "")
    raise DataError(
        f"none of the {fit.ids:,} ids of {table}, such as {example!r}, is a record; "
        "ids are file names or paths relative to SOURCE, or COCO's ids of images"
    )
