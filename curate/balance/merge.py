"""The censuses of several sites as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.balance.cells import Order, add_cells, add_up
from curate.balance.census import Census
from curate.core.errors import DataError


def merge(parts: Sequence[Census], order: Order) -> Census:
    """Add up what several sites counted; it is what would be counted of all their records.

    What one site hides stays hidden. No record may be at two sites.

    Args:
        parts: at least one; all counted the same.
        order: columns whose values have an order of their own.

    Raises:
        DataError: if they did not count the same.
    """
    plan = parts[0].plan
    for part in parts[1:]:
        if part.plan != plan:
            raise DataError(
                "the audits count different things and cannot be joined; "
                "make each with the same --by, --label and --manifest"
            )
    cells = [part.cells for part in parts if part.cells is not None]
    single = frozenset.intersection(*(part.single for part in parts))
    return Census(
        plan=plan,
        records=sum(part.records for part in parts),
        tables={
            columns: add_up([part.tables[columns] for part in parts], order)
            for columns in parts[0].tables
        },
        single=single,
        cells=add_cells(cells, order) if len(cells) == len(parts) else None,
        # The noise of a sum is hardly ever more than noise of the sum of the scales.
        noise=math.fsum(part.noise for part in parts),
    )
