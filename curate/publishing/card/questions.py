"""``card.toml``: what the tool cannot know of a dataset, asked once, checked key by key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from itertools import islice
from typing import Any

from curate.core.documents import parse_toml
from curate.core.errors import DataError, ProblemsError

_LONGEST = 20_000
_MAX_PROBLEMS = 50
"""Maximum number of problems of a kind that are searched, as each takes time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One key of ``card.toml``.

    Args:
        key: table and name, such as ``dataset.title``.
        ask: what is asked, for a person; one line or several.
        example: a value in TOML, shown as a comment.
        kind: ``text``, ``texts``, ``number``, ``date``, ``flag`` or ``choice``.
        required: whether a card cannot be written without it.
        default: the value where there is no answer.
        choices: the allowed values of a ``choice``.
        form: regular expression that a text must match, or None.
        rai: the property of Croissant's RAI vocabulary that it answers, or None.
    """

    key: str
    ask: str
    example: str
    kind: str = "text"
    required: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    form: str | None = None
    rai: str | None = None


def _load() -> tuple[Question, ...]:
    text = (files("curate.publishing.card") / "questions.toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)["question"]
    return tuple(Question(**{**one, "choices": tuple(one.get("choices", ()))}) for one in found)


QUESTIONS = _load()
"""Every key, in the order in which they are asked."""

_FREE = ("governance", "changelog")
"""Tables with keys of their own: evidence for governance rows, and the list of versions."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of ``card.toml``.

    Args:
        values: by key; defaults where there is no answer, None where there is no default.
        governance: by row's id: ``evidence`` or ``not_applicable``, each a text.
        changelog: versions, the newest first: ``version``, ``date`` and ``changes``.
        given: the keys that have an answer.
    """

    values: Mapping[str, Any]
    governance: Mapping[str, Mapping[str, str]]
    changelog: tuple[Mapping[str, Any], ...]
    given: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Any:
        return self.values[key]


def format_template() -> str:
    """A ``card.toml`` in which every question is explained and none is answered."""
    lines = [
        "# What curate card cannot know of your dataset. Answer what is marked required; every",
        "# other answer makes the card better. Figures are never typed here: they come from the",
        "# manifest and the reports.",
    ]
    table = ""
    for question in QUESTIONS:
        head, _, name = question.key.partition(".")
        if head != table:
            table = head
            lines += ["", f"[{table}]"]
        lines += ["", *(f"# {line}" for line in question.ask.splitlines())]
        if question.rai:
            lines.append(f"# Croissant: rai:{question.rai}.")
        if question.choices:
            lines.append(f"# One of {', '.join(map(str, question.choices))}.")
        blank = {"text": '""', "texts": "[]", "date": '""', "choice": '""'}.get(question.kind)
        if question.required:
            lines += [f"# Required. Example: {question.example}", f"{name} = {blank}"]
        else:
            lines.append(f"# {name} = {question.example}")
    lines += ["", *_FREE_PART.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"


_FREE_PART = """
# Evidence for the rows of the governance table, by the row's id (see the card): what you did, or
# why it does not apply.
[governance]
# gdpr-35 = { evidence = "DPIA of 2026-02-01, kept by the data protection officer" }
# ai-act-10-5 = { not_applicable = "No special categories of personal data are processed." }

# One table for each version, the newest first.
# [[changelog]]
# version = "1.0.0"
# date = 2026-03-01
# changes = ["First version."]
"""


def parse_answers(text: str, name: str) -> Answers:
    """Read ``card.toml``.

    Args:
        text: its content.
        name: what messages call it.

    Raises:
        DataError: at everything that is missing, unknown or of the wrong form, in one line.
    """
    try:
        found = parse_toml(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not valid TOML: {error}") from None
    problems = [
        *islice(_iter_unknown(found), _MAX_PROBLEMS),
        *islice(_iter_free_faults(found), _MAX_PROBLEMS),
    ]
    values: dict[str, Any] = {}
    given: list[str] = []
    for question in QUESTIONS:
        head, _, inner = question.key.partition(".")
        table = found.get(head, {})
        value = table.get(inner) if isinstance(table, dict) else None
        if value in (None, "", []):
            values[question.key] = question.default
            if question.required:
                problems.append(f"{question.key} has no answer")
            continue
        value = _as_text(value) if question.form or question.kind == "date" else value
        fault = _find_fault(question, value)
        if fault:
            problems.append(f"{question.key} {fault}")
        else:
            values[question.key] = value
            given.append(question.key)
    if not problems and values["dataset.license"] == "other":
        problems += [
            f"{key} has no answer, and dataset.license is 'other'"
            for key in ("dataset.license_name", "dataset.license_link")
            if not values[key]
        ]
    if problems:
        noun = "problem" if len(problems) == 1 else "problems"
        raise ProblemsError(f"{name} has {len(problems):,} {noun}", problems)
    changelog = tuple(_parse_version(item) for item in found.get("changelog", []))
    return Answers(values, found.get("governance", {}), changelog, tuple(given))


def _parse_version(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "version": item["version"],
        "date": item["date"].isoformat() if isinstance(item["date"], date) else item["date"],
        "changes": tuple(item["changes"]),
    }


def _iter_unknown(found: Mapping[str, Any]) -> Iterator[str]:
    known = {question.key for question in QUESTIONS}
    tables = {key.partition(".")[0] for key in known}
    for head, table in found.items():
        if head in _FREE:
            continue
        if head not in tables:
            yield f"unknown table [{head}]{_suggest(head, {*tables, *_FREE})}"
        elif not isinstance(table, dict):
            yield f"{head} is not a table"
        else:
            for inner in table:
                if f"{head}.{inner}" not in known:
                    yield f"unknown key {head}.{inner}{_suggest(f'{head}.{inner}', known)}"


def _suggest(word: str, known: set[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _iter_free_faults(found: Mapping[str, Any]) -> Iterator[str]:
    governance = found.get("governance", {})
    if not isinstance(governance, dict):
        yield "governance is not a table"
    else:
        for row, answer in governance.items():
            if (
                not isinstance(answer, dict)
                or set(answer) not in ({"evidence"}, {"not_applicable"})
                or not all(isinstance(text, str) and text.strip() for text in answer.values())
            ):
                yield f"governance.{row} is neither {{ evidence = … }} nor {{ not_applicable = … }}"
    changelog = found.get("changelog", [])
    if not isinstance(changelog, list):
        yield "changelog is not a list of tables; write [[changelog]]"
        return
    for number, item in enumerate(changelog):
        if (
            not isinstance(item, dict)
            or set(item) != {"version", "date", "changes"}
            or not _is_text(item["version"])
            or not (type(item["date"]) is date or _is_text(item["date"]))
            or not _is_texts(item["changes"])
        ):
            yield (
                f"changelog[{number}] does not have a version, a date and a list of changes, and "
                "nothing else"
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(item) and item for item in value)


def _as_text(value: Any) -> Any:
    """Dates and whole numbers as texts, also in a list; anything else as it is.

    TOML has types of its own for ``2026-03-01`` and ``14``, which people write with and without
    quotes.
    """
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    if type(value) is date:
        return value.isoformat()
    return str(value) if type(value) is int else value


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "text": (_is_text, "is not a text, such as {}"),
    "texts": (_is_texts, "is not a list of texts, such as {}"),
    "number": (_is_text, "is not a whole number, such as {}"),
    "date": (_is_date, "is not a date, such as {}"),
    "flag": (lambda value: isinstance(value, bool), "is neither true nor false, without quotes"),
    "choice": (_is_text, "is not a text, such as {}"),
}


def _find_fault(question: Question, value: Any) -> str | None:
    """What is wrong with an answer, or None."""
    holds, fault = _KINDS[question.kind]
    if not holds(value):
        return fault.format(question.example)
    if question.choices and value not in question.choices:
        return f"is {value!r}; want one of {', '.join(question.choices)}"
    if question.form:
        for text in value if isinstance(value, list) else [value]:
            if not re.fullmatch(question.form, text):
                return f"is {text!r}; want for example {question.example}"
    return None
