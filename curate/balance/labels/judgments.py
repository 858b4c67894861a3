"""Load tables of judgments; later judgments replace earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from curate.balance.labels.rules import QUESTIONS, RATINGS, SAFETY, Tally
from curate.core.errors import DataError, UsageError
from curate.layouts.faces.truth import format_value
from curate.layouts.groups import iter_rows, list_names, load_columns
from curate.manifest.store import digest_file

_LABEL, _ANNOTATOR = "label", "annotator"
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Statistics of one table of judgments.

    Args:
        sha256: digest of the table.
        rows: number of rows.
        judgements: judgments of labels in the vocabulary.
        replaced: of these, judgments that replaced one of an earlier table.
        changed: of these, judgments that differ from the earlier one.
        in_force: judgments that no later table replaced.
        unknown_labels: labels that are not in the vocabulary.
        unknown_examples: some of them; their judgments are ignored.
    """

    sha256: str
    rows: int
    judgements: int
    replaced: int
    changed: int
    in_force: int
    unknown_labels: int
    unknown_examples: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "unknown_examples": list(self.unknown_examples)}


@dataclass(frozen=True, slots=True)
class Judgments:
    """The current judgments.

    Args:
        tallies: by label, in the vocabulary's order.
        tables: by label, number of judgments from each table.
        annotators: number of annotators.
        facts: statistics of each table, in the given order.
    """

    tallies: Mapping[str, Tally]
    tables: Mapping[str, tuple[int, ...]]
    annotators: int
    facts: tuple[TableFacts, ...]


def load_judgments(paths: Sequence[Path], labels: Sequence[str]) -> Judgments:
    """Load tables of judgments; each may replace judgments of the same annotators.

    Args:
        paths: tables with the columns ``label``, ``annotator``, and ``safety``,
            ``imageability`` or both, from the earliest to the latest.
        labels: the vocabulary.

    Raises:
        UsageError: if there is no table, or one is given twice.
        DataError: if a table is malformed or empty, or has duplicate judgments.
    """
    if not paths:
        raise UsageError("no judgments; give --judgments TABLE")
    known = set(labels)
    # Answer and number of the table, by label, annotator and question.
    in_force: dict[tuple[str, str, str], tuple[int, int]] = {}
    facts: list[TableFacts] = []
    for number, path in enumerate(paths):
        read = _Table(path, number, known)
        _check_new(read.sha256, path, facts)
        facts.append(read.take_into(in_force))
    if not in_force:
        example = next((name for fact in facts for name in fact.unknown_examples), "")
        raise DataError(f"no judgment is of a label in the vocabulary; one is of {example!r}")
    return _sum_up(in_force, labels, facts)


def _check_new(sha256: str, path: Path, facts: Sequence[TableFacts]) -> None:
    if any(fact.sha256 == sha256 for fact in facts):
        raise UsageError(f"{path} is given twice; give each table of judgments once")


def _sum_up(
    in_force: Mapping[tuple[str, str, str], tuple[int, int]],
    labels: Sequence[str],
    facts: Sequence[TableFacts],
) -> Judgments:
    counts = {label: {name: [0] * size for name, size in QUESTIONS.items()} for label in labels}
    tables = {label: [0] * len(facts) for label in labels}
    for (label, _, question), (answer, number) in in_force.items():
        counts[label][question][answer] += 1
        tables[label][number] += 1
    standing = [sum(each[number] for each in tables.values()) for number in range(len(facts))]
    return Judgments(
        tallies={
            label: Tally(tuple(each["safety"]), tuple(each["imageability"]))
            for label, each in counts.items()
        },
        tables={label: tuple(each) for label, each in tables.items()},
        annotators=len({annotator for _, annotator, _ in in_force}),
        facts=tuple(
            replace(fact, in_force=left) for fact, left in zip(facts, standing, strict=True)
        ),
    )


class _Table:
    """One table of judgements.

    Args:
        path: the file.
        number: its index among the tables.
        known: the vocabulary.
    """

    def __init__(self, path: Path, number: int, known: set[str]) -> None:
        self._path = path
        self._number = number
        self._known = known
        self._stated: set[tuple[str, str, str]] = set()
        columns = load_columns(path)
        for name in (_LABEL, _ANNOTATOR):
            if name not in columns:
                raise DataError(f"{path} has no column {name!r}; it has: {list_names(columns)}")
        if not any(name in columns for name in QUESTIONS):
            raise DataError(
                f"{path} has neither a column 'safety' nor 'imageability'; "
                f"it has: {list_names(columns)}"
            )
        self.sha256 = digest_file(path)

    def take_into(self, in_force: dict[tuple[str, str, str], tuple[int, int]]) -> TableFacts:
        """Add the table's judgments to the current ones; returns its statistics."""
        rows = judgements = replaced = changed = 0
        unknown: dict[str, None] = {}
        columns = (_LABEL, _ANNOTATOR, *QUESTIONS)
        for rows, row in enumerate(iter_rows(self._path, columns), start=1):
            for key, answer in self._parse(row, f"{self._path}, record {rows}"):
                if key[0] not in self._known:
                    unknown[key[0]] = None
                    continue
                before = in_force.get(key)
                judgements += 1
                replaced += before is not None
                changed += before is not None and before[0] != answer
                in_force[key] = (answer, self._number)
        if not self._stated:
            raise DataError(f"{self._path} contains no judgments")
        examples = tuple(sorted(unknown)[:_EXAMPLES])
        return TableFacts(
            self.sha256, rows, judgements, replaced, changed, judgements, len(unknown), examples
        )

    def _parse(
        self, row: Mapping[str, Any], where: str
    ) -> Iterator[tuple[tuple[str, str, str], int]]:
        """The judgments of one row; empty fields are skipped."""
        label, annotator = format_value(row.get(_LABEL)), format_value(row.get(_ANNOTATOR))
        if label is None:
            raise DataError(f"{where}, has no label")
        if annotator is None:
            raise DataError(f"{where}, has no annotator; add a name or number")
        for question in QUESTIONS:
            text = format_value(row.get(question))
            if text is None:
                continue
            key = (label, annotator, question)
            if key in self._stated:
                raise DataError(
                    f"{where}: {annotator!r} has two judgments of the {question} of {label!r}; to "
                    "change a judgment, give a further table after this one"
                )
            self._stated.add(key)
            yield key, _parse_answer(question, text, where)


def _parse_answer(question: str, text: str, where: str) -> int:
    """Index of an answer on its scale."""
    scale = SAFETY if question == "safety" else tuple(map(str, RATINGS))
    # Spreadsheets write whole numbers as 4.0.
    plain = text.lower() if question == "safety" else text.removesuffix(".0")
    if plain not in scale:
        want = f"{', '.join(scale[:-1])} or {scale[-1]}"
        raise DataError(f"{where}: {question} is {text[:60]!r}; expected {want}")
    return scale.index(plain)
