"""Suggest a split of a dataset that keeps near-duplicates together."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError
from curate.core.records import printable, set_names, set_paths
from curate.layouts import open_source
from curate.layouts.groups import load_matching
from curate.layouts.memory_table import TableLike, set_tables
from curate.manifest.files import DATA, MANIFEST
from curate.report.document import Printable
from curate.storage.atomic import open_atomic
from curate.storage.index import open_index
from curate.storage.regular import load_json, open_regular
from curate.storage.target import check_output

if TYPE_CHECKING:
    import pandas as pd

_SCHEMA = """
CREATE TABLE units (unit TEXT, rank INTEGER, size INTEGER, key BLOB, PRIMARY KEY (unit));
CREATE TABLE images (unit TEXT, id BLOB, stratum TEXT);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How a dataset is split.

    Args:
        fractions: share of the images by split, above 0, 1 in all.
        duplicates: JSON of ``curate duplicates``, whose groups stay together; None for none.
        groups: a table of group labels by id, a file or in memory such as a DataFrame, or None.
        by: its columns: every combination of them is split by the fractions.
        layout: SOURCE's layout, or ``auto``.
        seed: of the order in which images are assigned.

    Raises:
        UsageError: if a value is out of range.
    """

    fractions: Mapping[str, float] = field(default_factory=lambda: {"train": 0.8, "test": 0.2})
    duplicates: Path | None = None
    groups: TableLike | None = None
    by: tuple[str, ...] = ()
    layout: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        set_names(self, "by")
        set_paths(self, "duplicates")
        set_tables(self, "groups")
        if len(self.fractions) < 2 or any(not 0 < each < 1 for each in self.fractions.values()):
            raise UsageError("--fractions names two or more splits, as in train=0.8,test=0.2")
        if abs(sum(self.fractions.values()) - 1) > 1e-6:
            raise UsageError(f"--fractions sum to {sum(self.fractions.values()):g}; want 1")
        if self.by and self.groups is None:
            raise UsageError("--by names columns of --groups; give the table")


@dataclass(frozen=True, slots=True, repr=False)
class SplitSuggestion(Printable):
    """A suggested split.

    Args:
        out: the table: ``id``, ``split`` and ``group``, sorted by id.
        images: images by split.
        together: groups of near-duplicates that were kept together.
        strata: images by stratum and split.
    """

    out: str
    images: Mapping[str, int]
    together: int
    strata: Mapping[str, Mapping[str, int]]

    def to_text(self) -> str:
        """The result, for the terminal."""
        parts = ", ".join(f"{name} {count:,}" for name, count in self.images.items())
        return (
            f"Wrote {self.out}, a table with the columns id, split and group.\n"
            f"{parts}; groups of near-duplicates kept together: {self.together:,}"
        )

    def to_frame(self) -> pd.DataFrame:
        """The table: ``id``, ``split`` and ``group``."""
        import pandas as pd

        return pd.read_csv(self.out, dtype=str, keep_default_na=False)


@checked
def suggest_splits(
    source: str | Path, out: str | Path, options: SplitOptions | None = None
) -> SplitSuggestion:
    """Suggest a split in which near-duplicates are in one part, and groups in every part.

    Units - groups of near-duplicates, and single images - are assigned in a seeded random order,
    large ones first, each to the split that lacks most of its strata. Nothing is moved: the
    table says which image belongs where.

    Args:
        source: the dataset, or the OUT of a run; only read.
        out: the CSV table to write.
        options: how.

    Raises:
        UsageError: if a value is out of range.
        DataError: if SOURCE or a table cannot be used.
    """
    options = options or SplitOptions()
    if str(out).endswith("/") or Path(out).suffix.lower() != ".csv" or Path(out).is_dir():
        raise UsageError(
            f"a split is one table and no folder; give a file that ends in .csv instead of {out}"
        )
    _check_target(Path(out))
    folder = Path(source) / DATA if (Path(source) / MANIFEST).is_dir() else source
    units = _load_units(options.duplicates)
    opened = open_source(str(folder), options.layout)
    ids = (record.id for record in opened.records())
    labels = load_matching(options.groups, ids, options.by)
    with open_index(None, _SCHEMA, what="list of images") as table:
        known = 0
        for record in opened.records():
            known += record.id in units
            unit = units.get(record.id, record.id)
            stratum = _name_stratum(record.category, labels.get(record.id, {}), options.by)
            row = (json.dumps(unit), os.fsencode(record.id), stratum)
            table.execute("INSERT INTO images VALUES (?, ?, ?)", row)
        if units and not known:
            raise DataError(
                f"--duplicates {options.duplicates} is of another dataset: none of its images is "
                "in SOURCE"
            )
        table.execute("CREATE INDEX by_unit ON images (unit)")
        sizes = table.execute("SELECT unit, count(*) FROM images GROUP BY unit").fetchall()
        for unit, size in sizes:
            key = hashlib.sha256(f"{options.seed}\n{unit}".encode()).digest()
            table.execute("INSERT INTO units VALUES (?, NULL, ?, ?)", (unit, size, key))
        strata = _assign(table, options.fractions)
        return _write(table, Path(out), strata)


_HEADER = ("id", "split", "group")


def _check_target(out: Path) -> None:
    """Refuse a table that cannot be written, and a file that is not such a table."""
    check_output(out, "csv")
    try:
        with open_regular(out, follow_links=True) as file:
            first = file.readline(80).strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    if first not in (b"", ",".join(_HEADER).encode()):
        raise UsageError(f"{out} exists and is not a split; name another file, or remove it")


def _name_stratum(category: str | None, labels: Mapping[str, str], by: tuple[str, ...]) -> str:
    if by:
        return " × ".join(labels.get(name, "unknown") for name in by)
    return category or "all"


def _load_units(path: Path | None) -> dict[str, str]:
    """The first image of its group by each image of a group of near-duplicates."""
    if path is None:
        return {}
    try:
        groups = load_json(path)["groups"]
        return {str(name): str(group[0]) for group in groups for name in group}
    except OSError as error:
        raise DataError(f"--duplicates {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise DataError(f"--duplicates {path} is not the JSON of curate duplicates") from None


def _assign(table: Any, fractions: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """Give every unit a split; returns images by stratum and split."""
    names = sorted(fractions)
    strata: dict[str, dict[str, int]] = {}
    seen: Counter[str] = Counter()
    order = "SELECT unit FROM units ORDER BY size DESC, key"
    for (unit,) in table.execute(order).fetchall():
        query = "SELECT stratum, count(*) FROM images WHERE unit = ? GROUP BY stratum"
        wanted = dict(table.execute(query, (unit,)).fetchall())
        seen.update(wanted)

        def lack(name: str, wanted: Mapping[str, int] = wanted) -> float:
            return sum(
                fractions[name] * seen[stratum] - strata.get(stratum, {}).get(name, 0)
                for stratum in wanted
            )

        best = max(range(len(names)), key=lambda rank: (lack(names[rank]), fractions[names[rank]]))
        table.execute("UPDATE units SET rank = ? WHERE unit = ?", (best, unit))
        for stratum, count in wanted.items():
            into = strata.setdefault(stratum, dict.fromkeys(names, 0))
            into[names[best]] += count
    return strata


def _write(table: Any, out: Path, strata: Mapping[str, Mapping[str, int]]) -> SplitSuggestion:
    images: Counter[str] = Counter()
    names = sorted(next(iter(strata.values()), {}))

    def rows() -> Iterator[tuple[str, str, str]]:
        query = (
            "SELECT id, rank, units.unit, size FROM images JOIN units ON units.unit = images.unit "
            "ORDER BY id"
        )
        for key, rank, unit, size in table.execute(query):
            images[names[rank]] += 1
            yield printable(os.fsdecode(key)), names[rank], json.loads(unit) if size > 1 else ""

    with open_atomic(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(_HEADER)
        writer.writerows(rows())
        text.detach()
    together = table.execute("SELECT count(*) FROM units WHERE size > 1").fetchone()[0]
    return SplitSuggestion(str(out), dict(images), int(together), strata)
