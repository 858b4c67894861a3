"""The governance table: what laws and documentation standards ask, and the evidence for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from curate.core.errors import DataError
from curate.publishing.card.figures import Documents, plain, resolve

NOTE = (
    "This table lists where evidence is. It is not legal advice, and no row says that a law is "
    "complied with."
)
DELAYED = (
    "Dates of the EU AI Act are those of Regulation (EU) 2024/1689, Article 113, as enacted; check "
    "whether later acts have moved them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One requirement.

    Args:
        id: the name that ``card.toml`` uses.
        law: the law or standard.
        article: the part of it.
        applies_from: a date.
        requirement: what it asks.
        status: ``evidence``, ``none`` or ``not applicable``.
        evidence: Markdown: a pointer, a text of ``card.toml``, or why it does not apply; empty for
            none.
    """

    id: str
    law: str
    article: str
    applies_from: str
    requirement: str
    status: str
    evidence: str


@cache
def _load() -> Mapping[str, Any]:
    text = (files("curate.publishing.card") / "governance.json").read_text(encoding="utf-8")
    value: Mapping[str, Any] = json.loads(text)
    return value


def as_of() -> str:
    """The day as of which the table's requirements are stated."""
    return str(_load()["as_of"])


def make_rows(
    documents: Documents, names: Mapping[str, str], answers: Mapping[str, Mapping[str, str]]
) -> list[Row]:
    """The table with its evidence.

    Args:
        documents: the evidence that pointers lead into.
        names: names of the reports by kind, for pointers such as ``@audit#/attributes``.
        answers: table ``governance`` of ``card.toml``.

    Raises:
        DataError: if an answer is of a row that there is not.
    """
    rows = _load()["rows"]
    unknown = sorted(set(answers) - {row["id"] for row in rows})
    if unknown:
        raise DataError(
            f"card.toml: governance.{unknown[0]} is not a row; the rows are "
            f"{', '.join(row['id'] for row in rows)}"
        )
    made = []
    for row in rows:
        status, evidence = _find(row["pointer"], documents, names, answers.get(row["id"], {}))
        fields = {key: row[key] for key in ("id", "law", "article", "applies_from", "requirement")}
        made.append(Row(**fields, status=status, evidence=evidence))
    return made


def _find(
    pointers: str | Sequence[str] | None,
    documents: Documents,
    names: Mapping[str, str],
    answer: Mapping[str, str],
) -> tuple[str, str]:
    """Status and evidence of a row: what a person answered, else the first pointer with a value."""
    if "not_applicable" in answer:
        return "not applicable", plain(answer["not_applicable"])
    if "evidence" in answer:
        return "evidence", plain(answer["evidence"])
    for pointer in [pointers] if isinstance(pointers, str) else pointers or ():
        kind, _, path = pointer.partition("#")
        if kind.startswith("@"):
            pointer = f"{names.get(kind[1:], kind)}#{path}"
        with contextlib.suppress(DataError):
            if resolve(documents, pointer) not in (None, "", [], {}):
                return "evidence", f"`{pointer}`"
    return "none", ""
