"""``card.toml``: what the tool cannot know of a dataset, asked once, checked key by key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from curate.core.errors import DataError

_LONGEST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One key of ``card.toml``.

    Args:
        key: table and name, such as ``dataset.title``.
        ask: what is asked, for a person; one line or several.
        example: a value in TOML, shown as a comment.
        kind: ``text``, ``texts``, ``date``, ``flag`` or ``choice``.
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


def _question(key: str, ask: str, example: str, **more: Any) -> Question:
    return Question(key=key, ask=ask, example=example, **more)


_URL = r"https?://\S+"
_EMAIL = r"\S+@\S+\.\S+"
QUESTIONS: tuple[Question, ...] = (
    _question("dataset.title", "The dataset's name for people.", '"Street scenes"', required=True),
    _question(
        "dataset.version",
        "Version of the published dataset, three numbers. Raise it with every push:\n"
        "the last number for removals, the second for more or better data, the first for another\n"
        "composition.",
        '"1.0.0"',
        required=True,
        form=r"\d+\.\d+\.\d+",
    ),
    _question("dataset.date", "The day of this version.", "2026-03-01", required=True, kind="date"),
    _question(
        "dataset.description",
        "What is in it, in one paragraph.",
        '"Photographs of streets, labelled with what they show."',
        required=True,
    ),
    _question(
        "dataset.license",
        "License of what you publish, an identifier of the Hub's list\n"
        "(https://huggingface.co/docs/hub/repositories-licenses). You need the right to publish\n"
        "the photos under it: hiding faces does not give it to you.",
        '"cc-by-4.0"',
        required=True,
    ),
    _question(
        "dataset.license_name",
        'Name of the license where dataset.license is "other".',
        '"street-scenes-license"',
        form=r"[a-z0-9.+-]+",
    ),
    _question(
        "dataset.license_link",
        'Where its text is, where dataset.license is "other": "LICENSE" or an address.',
        '"https://example.org/license"',
    ),
    _question(
        "dataset.source",
        "Where the original photos come from, who took them, and on what legal basis you process\n"
        "them.",
        '"Taken by the authors in public streets in 2025."',
        required=True,
        rai="dataCollection",
    ),
    _question(
        "dataset.source_url",
        "Address of the original dataset, if there is one.",
        '"https://example.org/original"',
        form=_URL,
    ),
    _question(
        "dataset.url",
        "Home page of the dataset; the address of its repository will do.",
        '"https://huggingface.co/datasets/my-lab/street-scenes"',
        required=True,
        form=_URL,
    ),
    _question(
        "dataset.collected",
        "First and last day on which the photos were taken, or one day.",
        '["2025-03-01", "2025-09-30"]',
        kind="texts",
        form=r"\d{4}(-\d{2}(-\d{2})?)?",
        rai="dataCollectionTimeframe",
    ),
    _question(
        "dataset.task_categories",
        "Tasks that it is for, of the Hub's list, such as image-classification,\n"
        "object-detection, image-segmentation.",
        '["image-classification"]',
        kind="texts",
        default=[],
    ),
    _question(
        "dataset.languages",
        "Languages of texts in it (ISO 639-1), if any.",
        '["en"]',
        kind="texts",
        default=[],
        form=r"[a-z]{2,3}",
    ),
    _question("dataset.tags", "More tags.", '["streets"]', kind="texts", default=[]),
    _question(
        "maintainer.name",
        "Who answers for it: a person or an organization.",
        '"A. Researcher"',
        required=True,
    ),
    _question(
        "maintainer.email", "How to reach them.", '"a@example.org"', required=True, form=_EMAIL
    ),
    _question(
        "maintainer.kind",
        "What the maintainer is.",
        '"person"',
        kind="choice",
        choices=("person", "organization"),
        default="person",
    ),
    _question("maintainer.url", "Their page.", '"https://example.org"', form=_URL),
    _question(
        "maintainer.orcid",
        "Their ORCID.",
        '"0000-0002-1825-0097"',
        form=r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]",
    ),
    _question(
        "maintainer.plan",
        "How the dataset is kept up, and for how long.",
        '"Yearly releases until 2030; removals within 14 days."',
        rai="dataReleaseMaintenancePlan",
    ),
    _question(
        "use.intended",
        "What it is meant for.",
        '"Training and testing image classifiers."',
        required=True,
        rai="dataUseCases",
    ),
    _question(
        "use.out_of_scope",
        "What it must not be used for. Written into the card in your words.",
        '"Identifying people, or restoring what was obfuscated."',
        default="Identifying people, or restoring faces that were obfuscated.",
    ),
    _question("use.social_impact", "Whom it may help or harm.", '"…"', rai="dataSocialImpact"),
    _question(
        "use.limitations",
        "Known limits beyond those that the tool states: what is missing, what went wrong.",
        '"Only daylight."',
        rai="dataLimitations",
    ),
    _question(
        "use.biases",
        "Known biases: who and what is over- and under-represented, and why.",
        '"Mostly large cities in Europe."',
        rai="dataBiases",
    ),
    _question(
        "use.sensitive",
        "Personal or sensitive information besides faces: plates, text, tattoos, places.",
        '"License plates are visible."',
        rai="personalSensitiveInformation",
    ),
    _question(
        "use.synthetic",
        "Whether any image is synthetic (generated).",
        "false",
        kind="flag",
        rai="hasSyntheticData",
    ),
    _question(
        "removal.contact",
        "Where a person who is in a photo asks for its removal: an address or an email.",
        '"removal@example.org"',
        required=True,
    ),
    _question(
        "removal.days",
        "Within how many days you answer.",
        '"14"',
        form=r"\d{1,3}",
        default="30",
    ),
    _question(
        "citation.authors",
        "Authors, as 'Family, Given'.",
        '["Researcher, A."]',
        kind="texts",
        required=True,
    ),
    _question(
        "citation.doi",
        "Its DOI, if it has one.",
        '"10.5281/zenodo.1234567"',
        form=r"10\.\d{4,9}/\S+",
    ),
    _question(
        "citation.paper",
        "Address of its paper, if there is one.",
        '"https://arxiv.org/abs/…"',
        form=_URL,
    ),
    _question(
        "access.terms",
        "Terms that a reader accepts before access; needed for curate push --gated.",
        '"I will not try to identify anyone in these photos."',
    ),
    _question(
        "access.fields",
        "What a reader is asked for at the gate.",
        '["Name", "Affiliation"]',
        kind="texts",
        default=[],
    ),
    _question(
        "annotation.protocol", "How the annotations were made.", '"…"', rai="dataAnnotationProtocol"
    ),
    _question("annotation.annotators", "Who made them.", '"…"', rai="annotatorDemographics"),
)
"""Every key, in the order in which they are asked."""

_FREE = ("governance", "changelog")
"""Tables with keys of their own: evidence for governance rows, and the list of versions."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What ``card.toml`` says.

    Args:
        values: by key; defaults where there is no answer, None where there is no default.
        governance: by row's id: ``evidence`` or ``not_applicable``, each a text.
        changelog: versions, the newest first: ``version``, ``date`` and ``changes``.
    """

    values: Mapping[str, Any]
    governance: Mapping[str, Mapping[str, str]]
    changelog: tuple[Mapping[str, Any], ...]

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
# datasheets = { not_applicable = "…" }

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
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{name} is not valid TOML: {error}") from None
    problems = [*_iter_unknown(found), *_iter_free_faults(found)]
    values: dict[str, Any] = {}
    for question in QUESTIONS:
        head, _, inner = question.key.partition(".")
        table = found.get(head, {})
        value = table.get(inner) if isinstance(table, dict) else None
        if value in (None, "", []):
            values[question.key] = question.default
            if question.required:
                problems.append(f"{question.key} has no answer")
            continue
        fault = _find_fault(question, value)
        if fault:
            problems.append(f"{question.key} {fault}")
        else:
            values[question.key] = value.isoformat() if isinstance(value, date) else value
    if not problems and values["dataset.license"] == "other":
        problems += [
            f"{key} has no answer, and dataset.license is 'other'"
            for key in ("dataset.license_name", "dataset.license_link")
            if not values[key]
        ]
    if problems:
        more = f" (and {len(problems) - 8} more)" if len(problems) > 8 else ""
        raise DataError(f"{name}: {'; '.join(problems[:8])}{more}")
    changelog = tuple(_parse_version(item) for item in found.get("changelog", []))
    return Answers(values, found.get("governance", {}), changelog)


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


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "text": (_is_text, "is not a text"),
    "texts": (_is_texts, "is not a list of texts"),
    "date": (lambda value: type(value) is date, "is not a date such as 2026-03-01"),
    "flag": (lambda value: isinstance(value, bool), "is neither true nor false"),
    "choice": (_is_text, "is not a text"),
}


def _find_fault(question: Question, value: Any) -> str | None:
    """What is wrong with an answer, or None."""
    holds, fault = _KINDS[question.kind]
    if not holds(value):
        return fault
    if question.choices and value not in question.choices:
        return f"is {value!r}; want one of {', '.join(question.choices)}"
    if question.form:
        for text in value if isinstance(value, list) else [value]:
            if not re.fullmatch(question.form, text):
                return f"is {text!r}; want for example {question.example}"
    return None
