"""The gate before an upload: nothing is sent unless every check here passes."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.core.errors import DataError, ManifestError
from curate.layouts import open_source
from curate.manifest.files import Problem
from curate.pipeline.verify import CardCheck, iter_problems
from curate.publishing.card.check import (
    CARD,
    CITATION,
    CROISSANT,
    QUESTIONS,
    iter_differences,
    iter_faults,
)
from curate.publishing.card.picture import NAME
from curate.publishing.card.run import Card
from curate.publishing.dataset import Dataset

_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is sent.

    Args:
        file: the file or record at fault.
        reason: what is wrong with it.
    """

    file: str
    reason: str


class GateError(DataError):
    """The gate refused an upload; nothing was sent.

    Args:
        out: the OUT.
        refusals: what is wrong, the first of them.
        more: how many more there are.

    Attributes:
        remedy: what to do about the first, a clause.
    """

    def __init__(self, out: Path, refusals: Sequence[Refusal], more: int = 0) -> None:
        first = refusals[0]
        count = len(refusals) + more
        others = f" (and {count - 1:,} more)" if count > 1 else ""
        self.remedy = "repair OUT, or make it again"
        command = f"`curate card {shlex.quote(str(out))}`"
        if first.file == QUESTIONS:
            self.remedy = f"edit {shlex.quote(str(out / QUESTIONS))}, then run {command}"
        elif first.file in (CARD, CROISSANT, CITATION, NAME):
            self.remedy = (
                f"run {command}; if that does not help, edit "
                f"{QUESTIONS} or the sections "
                "between the keep comments, and run it again"
            )
        elif first.reason.endswith("make the report again"):
            self.remedy = f"then run {command}"
        super().__init__(f"nothing was sent: {first.file}: {first.reason}{others}; {self.remedy}")
        self.refusals = tuple(refusals)
        self.more = more


def check_dataset(
    dataset: Dataset,
    source: str | None,
    workers: int | None,
    make_card: Callable[[str | None], Card],
    form: str | None,
) -> Card:
    """Refuse an OUT that differs from its manifest, is not complete, or has another card.

    Args:
        dataset: the dataset.
        source: its SOURCE, to count records and compare pixels with, or None.
        workers: processes for verification.
        make_card: makes the card of a form from its evidence.
        form: the form that it is published in; None for the layout's usual one. A card that was
            written for the usual one may be published in any.

    Returns:
        The card of that form.

    Raises:
        GateError: naming files and reasons.
    """
    made: list[Card] = []

    def check_card(out: Path) -> Iterator[Problem]:
        try:
            made.append(make_card(form))
            differences = list(iter_differences(out, made[0]))
            if differences and form is not None:
                differences = list(iter_differences(out, make_card(None)))
        except DataError as error:
            yield from iter_faults(out, error)
            return
        for one in differences:
            yield Problem("card", one.file, one.reason)

    try:
        _raise_if_any(dataset.out, _iter_refusals(dataset, source, workers, check_card))
    except ManifestError as error:
        raise GateError(dataset.out, [Refusal("manifest", str(error))]) from None
    return made[0] if made else make_card(form)


def _raise_if_any(out: Path, refusals: Iterator[Refusal]) -> None:
    shown: list[Refusal] = []
    more = 0
    for refusal in refusals:
        if len(shown) < _SHOWN:
            shown.append(refusal)
        else:
            more += 1
    if shown:
        raise GateError(out, shown, more)


def _iter_refusals(
    dataset: Dataset, source: str | None, workers: int | None, check_card: CardCheck
) -> Iterator[Refusal]:
    compared = source if not dataset.is_correction else None
    failed = False
    for problem in iter_problems(dataset.out, compared, workers, check_card):
        failed = True
        kind = "" if problem.kind == "card" else f"{problem.kind}: "
        yield Refusal(problem.path, f"{kind}{problem.detail}")
    if not failed:
        yield from _iter_incomplete(dataset, source)


def _iter_incomplete(dataset: Dataset, source: str | None) -> Iterator[Refusal]:
    """Whether every record is in the output or withheld with a reason, by split and class."""
    written, planned = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for item in dataset.items():
        key = (item.split or "-", item.category or "-")
        planned[key] += 1
        if item.is_written:
            written[key] += 1
        elif not item.reason:
            yield Refusal(item.id, "is neither in the output nor withheld with a reason")
    if not dataset.is_correction:
        yield from _iter_count_faults("data", written, _count_records(str(dataset.data), dataset))
        if source is not None:
            found = _count_records(source, dataset)
            yield from _iter_count_faults("SOURCE", planned, found)


def _count_records(uri: str, dataset: Dataset) -> Counter[tuple[str, str]]:
    counts = Counter[tuple[str, str]]()
    for record in open_source(uri, dataset.layout).records():
        counts[record.split or "-", record.category or "-"] += 1
    return counts


def _iter_count_faults(
    where: str, listed: Counter[tuple[str, str]], found: Counter[tuple[str, str]]
) -> Iterator[Refusal]:
    for split, category in sorted({*listed, *found}):
        a, b = listed[split, category], found[split, category]
        if a != b:
            yield Refusal(
                where,
                f"has {b:,} images of split {split!r} and class {category!r}, and the manifest "
                f"accounts for {a:,}",
            )
