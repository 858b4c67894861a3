"""Say who is in a dataset, in which numbers and under which labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import curate
from curate.balance.audit.coverage import THRESHOLD
from curate.balance.audit.measure import Audit, Rules, audit
from curate.balance.audit.merge import Joint, load_audit
from curate.balance.audit.noise import Budget, add_noise
from curate.balance.audit.report import VERSION, count_hidden, describe, to_dict
from curate.balance.audit.suppression import suppress
from curate.balance.census import MOST_CROSSED, Census, Plan, count, merge
from curate.balance.contingency import Columns
from curate.balance.groups import Bins, Reading, Unit, read_units
from curate.balance.records import OUTCOMES, Input, Record, open_input
from curate.balance.targets import load_targets
from curate.core.errors import DataError, UsageError
from curate.core.records import escape_unprintable
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.groups import TABLES, holds_images
from curate.manifest.store import digest_file

DEFAULT_BINS: Mapping[str, Bins] = {
    "faces": Bins(("none", "one", "2 to 4", "5 or more"), (1.0, 2.0, 5.0)),
    "blurred_share": Bins(("nothing", "below 1 %", "1 to 10 %", "10 % or more"), (1e-9, 0.01, 0.1)),
}
"""Ranges of the numbers that a manifest holds, where no others are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to count, and what to hold it against.

    Args:
        groups: a table of groups, or None.
        id_column: its column of ids; None for the first of the usual names.
        manifest: the OUT of a run, or None.
        by: attributes to look at, alone or crossed.
        label: the column of labels, or None.
        per: whether each record counts once, or each person in it.
        separator: what stands between several values in one text.
        bins: ranges of columns that are numbers.
        targets: tables of reference populations.
        threshold: records from which on a pattern is covered.
        least: the least count that may be shown, or None to show all.
        epsilon: the privacy budget of noise on all counts, or None for none.
        seed: of the bootstrap.
        layout: the dataset's, or ``auto``.
    """

    groups: Path | None = None
    id_column: str | None = None
    manifest: Path | None = None
    by: tuple[Columns, ...]
    label: str | None = None
    per: Literal["record", "person"] = "record"
    separator: str | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)
    targets: tuple[Path, ...] = ()
    threshold: int = THRESHOLD
    least: int | None = None
    epsilon: float | None = None
    seed: int = 0
    layout: str = "auto"


@dataclass(frozen=True, slots=True)
class Answer:
    """An audit and how it came about.

    Args:
        audit: the figures.
        facts: what was read, for the report.
    """

    audit: Audit
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {
            "version": VERSION,
            **self.facts,
            **to_dict(self.audit),
            "statements": list(describe(self.audit, self.facts)),
        }


def audit_dataset(source: str | Path | None, question: Question) -> Answer:
    """Count the groups of a dataset and say what is uneven.

    Args:
        source: the dataset, only read, or its address; a table; or None where ``question`` has all.
        question: what to look at.

    Raises:
        UsageError: if the request contradicts itself or names a column that is nowhere.
        DataError: if what is given cannot be used.
        SetupError: if the environment lacks something.
    """
    if source is not None and question.groups is None and _is_table(str(source)):
        source, question = None, replace(question, groups=Path(str(source)))
    plan = _plan(question)
    reading = Reading(
        attributes=plan.attributes,
        labels=plan.labels,
        per=question.per,
        separator=question.separator,
        bins=_bins(question, plan),
    )
    targets = load_targets(question.targets, plan.attributes)
    opened = None if source is None else open_source(str(source), question.layout)
    columns = (*plan.attributes, *plan.labels)
    given = Input(
        opened, question.groups, question.manifest, question.id_column, columns,
        question.per == "person", of_people=plan.attributes,
    )  # fmt: skip
    order = {name: bins.names for name, bins in reading.bins.items()}
    with open_input(given) as read:
        census = count(_iter_units(read.records, reading), reading, plan, order)
        facts = dict(read.facts)
    census = replace(census, records=facts.pop("records"))
    census, budget = _protect(census, question)
    result = audit(census, Rules(targets, question.threshold, question.seed))
    return Answer(result, _describe(question, reading, facts, census, budget))


def _is_table(source: str) -> bool:
    """Whether what is given is a table and no dataset; one that is not there as well."""
    path = Path(source)
    if is_address(source) or path.is_dir() or path.suffix.lower() == ".tar" or holds_images(path):
        return False
    return path.is_file() or path.suffix.lower() in TABLES


def merge_audits(paths: Sequence[Path]) -> Answer:
    """Join the audits of several sites into one.

    Where nothing was hidden, it is the audit of all their records together. What one
    site hides stays hidden, and a record must not be at two sites.

    Args:
        paths: reports in JSON.

    Raises:
        UsageError: if there are fewer than two, or one is given twice.
        DataError: if a file is no audit, or they do not count the same.
    """
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("give two audits or more, each once")
    parts = [load_audit(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if (part.rules, part.reading) != (first.rules, first.reading):
            raise DataError(
                f"{path} was made with other options than {paths[0]}; make each with the same "
                "--per, --bins, --target, --threshold and --seed"
            )
    order = {name: bins["names"] for name, bins in first.reading["bins"].items()}
    census = merge([part.census for part in parts], order)
    facts = {
        "tool": _tool(),
        "input": None,
        "sites": sum(part.sites for part in parts),
        "reading": first.reading,
        "suppressed": {
            "min_cell": max((part.least for part in parts if part.least), default=None),
            "counts": count_hidden(census),
        },
        "noise": _join_noise(parts, census.noise),
    }
    return Answer(audit(census, first.rules), facts)


def _plan(question: Question) -> Plan:
    attributes = tuple(dict.fromkeys(name for group in question.by for name in group))
    if not attributes:
        raise UsageError("say which attributes to look at, as with --by gender --by gender,age")
    for group in question.by:
        if len(set(group)) < len(group) or not all(group):
            raise UsageError(f"--by {','.join(group)} names an attribute twice, or none")
    if question.label in attributes:
        raise UsageError(f"{question.label} is both a label and an attribute; choose")
    if question.least is not None and question.epsilon is not None:
        raise UsageError("--min-cell and --epsilon protect in different ways; choose one")
    outcomes = tuple(
        name
        for name in OUTCOMES
        if question.manifest is not None and name not in (*attributes, question.label)
    )
    crossed = attributes if len(attributes) <= MOST_CROSSED else ()
    return Plan(question.by, question.label, outcomes, crossed)


def _bins(question: Question, plan: Plan) -> dict[str, Bins]:
    """Ranges of the columns that are looked at."""
    columns = (*plan.attributes, *plan.labels)
    for name in question.bins:
        if name not in columns:
            raise UsageError(f"--bins is for {name!r}, which is no --by and no --label")
    derived = DEFAULT_BINS if question.manifest is not None else {}
    every = {**derived, **question.bins}
    return {name: bins for name, bins in every.items() if name in columns}


def _iter_units(records: Iterator[Record], reading: Reading) -> Iterator[Unit]:
    for name, rows in records:
        try:
            yield from read_units(rows, reading)
        except DataError as error:
            raise DataError(f"{escape_unprintable(name)}: {error}") from None


def _protect(census: Census, question: Question) -> tuple[Census, Budget | None]:
    if question.least is not None:
        return suppress(census, question.least), None
    if question.epsilon is not None:
        return add_noise(census, question.epsilon)
    return census, None


def _describe(
    question: Question,
    reading: Reading,
    facts: Mapping[str, Any],
    census: Census,
    budget: Budget | None,
) -> dict[str, Any]:
    """How the audit came about; nothing about the host, the time or paths.

    A report that is meant for the public says nothing exact of its input, and no ids.
    """
    is_public = question.least is not None or question.epsilon is not None
    digest = None if question.groups is None else digest_file(question.groups)
    return {
        "tool": _tool(),
        "input": None if is_public else {"groups_sha256": digest, **facts},
        "sites": 1,
        "reading": {
            "per": reading.per,
            "separator": reading.separator,
            "bins": {
                name: {"names": list(bins.names), "edges": list(bins.edges)}
                for name, bins in reading.bins.items()
            },
        },
        "suppressed": {"min_cell": question.least, "counts": count_hidden(census)},
        "noise": None if budget is None else asdict(budget),
    }


def _join_noise(parts: Sequence[Joint], scale: float) -> dict[str, Any] | None:
    """Sites have different records: together they spend what the one spends that spends most."""
    spent = [part.noise for part in parts if part.noise is not None]
    if not spent:
        return None
    return {**max(spent, key=lambda noise: noise["epsilon"]), "scale": scale}


def _tool() -> dict[str, str]:
    return {"name": "curate-dataset", "version": curate.__version__}


def save_report(report: Mapping[str, Any], path: Path) -> None:
    """Write a report, so that a reader sees all of it or nothing."""
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
