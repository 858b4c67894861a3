"""Audit a dataset: read it, count it, compute the statistics, describe the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from curate.balance.audit.coverage import THRESHOLD
from curate.balance.audit.measure import Rules, compute_statistics
from curate.balance.audit.merge import SiteAudit, load_audit
from curate.balance.audit.noise import Budget, add_noise
from curate.balance.audit.report import Audit, count_hidden
from curate.balance.audit.suppression import suppress
from curate.balance.census import MAX_CROSSED, Census, Plan, count, merge
from curate.balance.contingency import Columns
from curate.balance.groups import Bins, Reading, Unit, parse_groupings, read_units
from curate.balance.records import OUTCOMES, Input, Record, open_input
from curate.balance.targets import load_targets
from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError
from curate.core.records import as_path, escape_unprintable, set_names
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.groups import TABLES, holds_images
from curate.layouts.memory_table import Table, TableLike, as_table, describe_table
from curate.pipeline.progress import counted, show_steps
from curate.pipeline.session import Step
from curate.report.document import describe_tool

DEFAULT_BINS: Mapping[str, Bins] = {
    "faces": Bins(("none", "one", "2 to 4", "5 or more"), (1.0, 2.0, 5.0)),
    "blurred_share": Bins(("nothing", "below 1 %", "1 to 10 %", "10 % or more"), (1e-9, 0.01, 0.1)),
}
"""Default ranges of the numeric columns of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """Options of an audit.

    Args:
        id_column: the table's column of ids; None for the first of the usual names.
        per: count each record once, or each person in it.
        separator: separator of several values in one text field, or None.
        bins: ranges of numeric columns, by column.
        targets: tables of reference populations.
        references: the group with which base rates are compared, by attribute, such as
            ``{"gender": "male"}``; all others are compared with the rest of the population.
        threshold: records below which a combination of values is uncovered.
        min_cell: smallest count to publish; smaller ones are suppressed. None shows all.
        epsilon: privacy budget of Laplace noise on all counts, or None for none.
        seed: random seed of the bootstrap.
        layout: the dataset's layout, or ``auto``.
    """

    id_column: str | None = None
    per: Literal["record", "person"] = "record"
    separator: str | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)
    targets: tuple[Path, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    threshold: int = THRESHOLD
    min_cell: int | None = None
    epsilon: float | None = None
    seed: int = 0
    layout: str = "auto"

    def __post_init__(self) -> None:
        set_names(self, "targets")


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of `audit`, checked."""

    plan: Plan
    groups: Table | None
    manifest: Path | None
    options: AuditOptions


@checked
def audit(
    source: str | Path | None,
    by: str | Sequence[str | Columns],
    groups: TableLike | None = None,
    label: str | None = None,
    manifest: str | Path | None = None,
    options: AuditOptions | None = None,
    *,
    quiet: bool = False,
) -> Audit:
    """Audit how groups are represented in a dataset or table.

    >>> import curate
    >>> result = curate.audit("photos", by=["gender", "gender,age"],
    ...                       groups="people.csv", label="category")  # doctest: +SKIP
    >>> result.to_frame()                                             # doctest: +SKIP

    Args:
        source: the dataset (path or URI), or a table of groups, or None if ``groups`` or
            ``manifest`` is given.
        by: one attribute or several; crossed ones as ``"gender,age"`` or ``("gender", "age")``.
        groups: table with an id column and the attributes, in a file, COCO JSON included, or in
            memory, such as a DataFrame.
        label: the column of labels, or None.
        manifest: the OUT of `curate.blur`, for outcomes by group.
        options: everything else.
        quiet: show no progress.

    Raises:
        UsageError: if the arguments contradict each other or a column does not exist.
        DataError: if an input cannot be used.
        SetupError: if an optional package is missing.
    """
    options = options or AuditOptions()
    table = as_table(groups)
    as_path(source, "source")
    if source is not None and table is None and _is_table(str(source)):
        source, table = None, Path(str(source))
    folder = as_path(manifest, "manifest")
    plan = _plan(parse_groupings(by), label, folder is not None, options)
    question = _Request(plan, table, folder, options)
    with show_steps(quiet) as watch:
        return _audit(source, question, watch)


def _audit(source: str | Path | None, request: _Request, watch: Callable[[Step], None]) -> Audit:
    plan, options = request.plan, request.options
    reading = Reading(
        attributes=plan.attributes,
        labels=plan.labels,
        per=options.per,
        separator=options.separator,
        bins=_bins(request),
    )
    targets = load_targets(options.targets, plan.attributes)
    opened = None if source is None else open_source(str(source), options.layout)
    columns = (*plan.attributes, *plan.labels)
    given = Input(
        opened, request.groups, request.manifest, options.id_column, columns,
        options.per == "person", of_people=plan.attributes, watch=watch,
    )  # fmt: skip
    order = {name: bins.names for name, bins in reading.bins.items()}
    with open_input(given) as read:
        records = counted(read.records, watch, "counting", "records")
        census = count(_iter_units(records, reading), reading, plan, order)
        facts = dict(read.facts)
        if read.names.images:
            facts["images"] = read.names.to_dict()
    census = replace(census, records=facts.pop("records"))
    census, budget = _protect(census, options)
    rules = Rules(targets, options.threshold, options.seed, options.references)
    result = compute_statistics(census, rules)
    return Audit(result, _describe(request, reading, facts, census, budget))


def _is_table(source: str) -> bool:
    """Whether SOURCE is a table; also for a table that does not exist."""
    path = Path(source)
    if is_address(source) or path.is_dir() or path.suffix.lower() == ".tar" or holds_images(path):
        return False
    return path.is_file() or path.suffix.lower() in TABLES


@checked
def merge_audits(paths: Sequence[str | Path]) -> Audit:
    """Merge the audits of several sites into one.

    Without suppression the result equals an audit of all records together. Counts that one
    site suppressed stay suppressed. A record must not be counted at two sites.

    Args:
        paths: audit reports in JSON.

    Raises:
        UsageError: if there are fewer than two, or one is given twice.
        DataError: if a file is not an audit, or they count different things.
    """
    files = [Path(path) for path in paths]
    if len(files) < 2 or len({path.resolve() for path in files}) < len(files):
        raise UsageError("give two or more different audits")
    parts = [load_audit(path) for path in files]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if (part.rules, part.reading) != (first.rules, first.reading):
            raise DataError(
                f"{path} was made with other options than {paths[0]}; make each with the same "
                "--per, --bins, --target, --reference, --threshold and --seed"
            )
    order = {name: bins["names"] for name, bins in first.reading["bins"].items()}
    census = merge([part.census for part in parts], order)
    facts = {
        "tool": describe_tool(),
        "input": None,
        "sites": sum(part.sites for part in parts),
        "reading": first.reading,
        "suppressed": {
            "min_cell": max((part.min_cell for part in parts if part.min_cell), default=None),
            "counts": count_hidden(census),
        },
        "noise": _join_noise(parts, census.noise),
    }
    return Audit(compute_statistics(census, first.rules), facts)


def _plan(
    by: tuple[Columns, ...], label: str | None, has_manifest: bool, options: AuditOptions
) -> Plan:
    attributes = tuple(dict.fromkeys(name for group in by for name in group))
    if not attributes:
        raise UsageError("no attributes given; use for example --by gender --by gender,age")
    for group in by:
        if len(set(group)) < len(group) or not all(group):
            raise UsageError(f"--by {','.join(group)} names an attribute twice, or none")
    if label in attributes:
        raise UsageError(f"{label} is both the label and an attribute; choose one")
    if options.min_cell is not None and options.epsilon is not None:
        raise UsageError("--min-cell and --epsilon exclude each other; choose one")
    outcomes = tuple(name for name in OUTCOMES if has_manifest and name not in (*attributes, label))
    crossed = attributes if len(attributes) <= MAX_CROSSED else ()
    return Plan(by, label, outcomes, crossed)


def _bins(request: _Request) -> dict[str, Bins]:
    """Ranges of the columns that are counted."""
    columns = (*request.plan.attributes, *request.plan.labels)
    for name in request.options.bins:
        if name not in columns:
            raise UsageError(f"--bins names {name!r}, which is not in --by or --label")
    derived = DEFAULT_BINS if request.manifest is not None else {}
    every = {**derived, **request.options.bins}
    return {name: bins for name, bins in every.items() if name in columns}


def _iter_units(records: Iterator[Record], reading: Reading) -> Iterator[Unit]:
    for name, rows in records:
        try:
            yield from read_units(rows, reading)
        except DataError as error:
            raise DataError(f"{escape_unprintable(name)}: {error}") from None


def _protect(census: Census, options: AuditOptions) -> tuple[Census, Budget | None]:
    if options.min_cell is not None:
        return suppress(census, options.min_cell), None
    if options.epsilon is not None:
        return add_noise(census, options.epsilon)
    return census, None


def _describe(
    request: _Request,
    reading: Reading,
    facts: Mapping[str, Any],
    census: Census,
    budget: Budget | None,
) -> dict[str, Any]:
    """Provenance of the audit, without the host, the time or paths.

    A report meant for publication contains no exact counts of its input and no ids.
    """
    options = request.options
    is_public = options.min_cell is not None or options.epsilon is not None
    return {
        "tool": describe_tool(),
        "input": None if is_public else {**describe_table(request.groups), **facts},
        "sites": 1,
        "reading": {
            "per": reading.per,
            "separator": reading.separator,
            "bins": {
                name: {"names": list(bins.names), "edges": list(bins.edges)}
                for name, bins in reading.bins.items()
            },
        },
        "suppressed": {"min_cell": options.min_cell, "counts": count_hidden(census)},
        "noise": None if budget is None else asdict(budget),
    }


def _join_noise(parts: Sequence[SiteAudit], scale: float) -> dict[str, Any] | None:
    """Sites have disjoint records: parallel composition spends the largest budget."""
    spent = [part.noise for part in parts if part.noise is not None]
    if not spent:
        return None
    return {**max(spent, key=lambda noise: noise["epsilon"]), "scale": scale}
