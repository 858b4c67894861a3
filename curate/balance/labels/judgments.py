"""What annotators said of labels, from tables; a later word replaces an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from curate.balance.labels.rules import QUESTIONS, RATINGS, SAFETY, Tally
from curate.core.errors import DataError, UsageError
from curate.layouts.faces.truth import format_value
from curate.layouts.group_table import list_names
from curate.layouts.groups import iter_rows, load_columns
from curate.manifest.store import digest_file

_LABEL, _ANNOTATOR = "label", "annotator"
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What became of a table's judgements; one is an annotator's answer on a label.

    Args:
        sha256: digest of the table.
        rows: how many rows it has.
        judgements: answers in it on labels of the vocabulary.
        replaced: how many of them took the place of one in an earlier table, and …
        changed: … how many of these say something else.
        in_force: how many no later table has replaced.
        unknown_labels: labels that the vocabulary does not have, and …
        unknown_examples: … some of them; what is said of them is left out.
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
class Judgements:
    """All that is in force.

    Args:
        tallies: by label, in the vocabulary's order.
        tables: by label, how many of its judgements stand in each table.
        annotators: how many people they are from.
        facts: of each table, in the order given.
    """

    tallies: Mapping[str, Tally]
    tables: Mapping[str, tuple[int, ...]]
    annotators: int
    facts: tuple[TableFacts, ...]


def load_judgements(paths: Sequence[Path], labels: Sequence[str]) -> Judgements:
    """Read tables of judgements; each may replace what the same annotators said before.

    Args:
        paths: tables with the columns ``label``, ``annotator``, and ``safety``,
            ``imageability`` or both, from the earliest to the latest.
        labels: the vocabulary.

    Raises:
        UsageError: if there is no table, or one is given twice.
        DataError: if a table is malformed or empty, or says something twice.
    """
    if not paths:
        raise UsageError("give --judgements: there is no decision without any")
    known = set(labels)
    # Answers and the table they stand in, by label, annotator and question.
    in_force: dict[tuple[str, str, str], tuple[int, int]] = {}
    facts: list[TableFacts] = []
    for number, path in enumerate(paths):
        read = _Table(path, number, known)
        _check_new(read.sha256, path, facts)
        facts.append(read.take_into(in_force))
    if not in_force:
        example = next((name for fact in facts for name in fact.unknown_examples), "")
        raise DataError(f"no judgement is of a label of the vocabulary; one is of {example!r}")
    return _sum_up(in_force, labels, facts)


def _check_new(sha256: str, path: Path, facts: Sequence[TableFacts]) -> None:
    if any(fact.sha256 == sha256 for fact in facts):
        raise UsageError(f"{path} is given twice; give each table of judgements once")


def _sum_up(
    in_force: Mapping[tuple[str, str, str], tuple[int, int]],
    labels: Sequence[str],
    facts: Sequence[TableFacts],
) -> Judgements:
    counts = {label: {name: [0] * size for name, size in QUESTIONS.items()} for label in labels}
    tables = {label: [0] * len(facts) for label in labels}
    for (label, _, question), (answer, number) in in_force.items():
        counts[label][question][answer] += 1
        tables[label][number] += 1
    standing = [sum(each[number] for each in tables.values()) for number in range(len(facts))]
    return Judgements(
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
        path: where it is.
        number: its place among the tables.
        known: the vocabulary.
    """

    def __init__(self, path: Path, number: int, known: set[str]) -> None:
        self._path = path
        self._number = number
        self._known = known
        self._said: set[tuple[str, str, str]] = set()
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
        """Add the table's judgements to those that stand, in the place of earlier ones."""
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
        if not self._said:
            raise DataError(f"{self._path} holds no judgement")
        examples = tuple(sorted(unknown)[:_EXAMPLES])
        return TableFacts(
            self.sha256, rows, judgements, replaced, changed, judgements, len(unknown), examples
        )

    def _parse(
        self, row: Mapping[str, Any], where: str
    ) -> Iterator[tuple[tuple[str, str, str], int]]:
        """The answers of one row; an empty field is none."""
        label, annotator = format_value(row.get(_LABEL)), format_value(row.get(_ANNOTATOR))
        if label is None:
            raise DataError(f"{where}, has no label")
        if annotator is None:
            raise DataError(f"{where}, has no annotator; give everyone a name or a number")
        for question in QUESTIONS:
            text = format_value(row.get(question))
            if text is None:
                continue
            key = (label, annotator, question)
            if key in self._said:
                raise DataError(
                    f"{where}: {annotator!r} judges the {question} of {label!r} twice; to change "
                    "a judgement, give a table of its own after this one"
                )
            self._said.add(key)
            yield key, _parse_answer(question, text, where)


def _parse_answer(question: str, text: str, where: str) -> int:
    """The place of an answer on its scale."""
    scale = SAFETY if question == "safety" else tuple(map(str, RATINGS))
    # What a spreadsheet makes of a whole number.
    plain = text.lower() if question == "safety" else text.removesuffix(".0")
    if plain not in scale:
        want = f"{', '.join(scale[:-1])} or {scale[-1]}"
        raise DataError(f"{where}: {question} is {text[:60]!r}; want {want}")
    return scale.index(plain)
