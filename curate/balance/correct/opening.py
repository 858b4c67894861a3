"""Open what is corrected, in any process: a dataset, or a table without images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.balance.correct.ledger import open_ledger
from curate.balance.correct.origin import TABLE, Origin
from curate.core.errors import DataError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.layouts import open_source


@dataclass(frozen=True, slots=True)
class Opening:
    """How what is corrected is opened.

    Args:
        place: where the dataset is; None of a table alone.
        layout: its layout, or ``auto``.
        ledger: what has the records of a table alone.
    """

    place: str | None
    layout: str
    ledger: Path

    def open(self) -> Source:
        """Open it; raises as `curate.layouts.open_source` does."""
        if self.place is None:
            return TableRecords(self.ledger)
        return open_source(self.place, self.layout)


def opening_of(origin: Origin, ledger: Path) -> Opening:
    """How a SOURCE is opened, with the ledger of its records."""
    return Opening(origin.place, origin.layout, ledger)


class TableRecords:
    """The records of a table without images, which a ledger has.

    Args:
        ledger: the ledger.
    """

    layout = TABLE

    def __init__(self, ledger: Path) -> None:
        self.uri = str(ledger)
        self._ledger = ledger

    def check(self, strict: bool = False) -> Iterator[str]:
        """Nothing to look over: the table was read to its end."""
        yield from ()

    def records(self) -> Iterator[ImageRecord]:
        """Every record, by id."""
        with open_ledger(self._ledger, fresh=False) as ledger:
            for decision in ledger.iter_decisions():
                yield ImageRecord(id=decision.id, uri=decision.id, split=decision.split)

    def find(self, record_id: str) -> ImageRecord | None:
        """The record of an id, or None."""
        with open_ledger(self._ledger, fresh=False) as ledger:
            found = ledger.find(record_id)
        return None if found is None else ImageRecord(id=record_id, uri=record_id)

    def read(self, record: ImageRecord) -> bytes:
        """Never possible: a table has no images."""
        raise DataError(f"{record.id!a} is a row of a table, and no image")

    def stamp(self, record: ImageRecord) -> str:
        """The ledger is made anew whenever the table is read."""
        return ""

    def size(self, record: ImageRecord) -> int | None:
        """Unknown."""
        return None
