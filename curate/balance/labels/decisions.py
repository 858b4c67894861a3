"""The labels that an audit of labels removes, for whoever carries it out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.balance.labels.report import VERSION
from curate.balance.labels.rules import Decision
from curate.core.errors import DataError, SchemaVersionError

UNDECIDED = "undecided"
"""The reason of a label that goes because nobody has decided it."""


def load_label_decisions(path: Path) -> Mapping[str, str]:
    """Read which labels go, each with the reason.

    Reasons are ``offensive``, ``sensitive``, ``not imageable``, one of the first two ``and
    not imageable``, or ``undecided``. Labels that are left out are kept, or unknown to the
    audit.

    Args:
        path: what ``curate audit labels -o`` wrote.

    Raises:
        DataError: if it cannot be read, is no audit of labels, or leaves labels undecided
            of which nobody has said what becomes of them.
        SchemaVersionError: if it was written by a newer release.
    """
    report = _load(path)
    try:
        decided = dict(_iter_decided(report["labels"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{path} is no audit of labels; give what curate audit labels wrote") from (
            None
        )
    open_labels = sorted(label for label, removed in decided.items() if removed is None)
    if open_labels:
        raise DataError(
            f"{path} leaves {len(open_labels):,} labels undecided, such as {open_labels[0]!r}; add "
            "judgements, or say --undecided keep or remove, and run curate audit labels again"
        )
    return {label: removed for label, removed in decided.items() if removed}


def _load(path: Path) -> Mapping[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the audit of labels {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no JSON; give what curate audit labels wrote") from None
    version = report.get("version") if isinstance(report, dict) else None
    if type(version) is int and version > VERSION:
        raise SchemaVersionError(
            f"{path} has version {version}, this release reads up to {VERSION}; upgrade "
            "curate-dataset"
        )
    if version != VERSION or not isinstance(report, dict) or "decisions" not in report:
        raise DataError(f"{path} is no audit of labels; give what curate audit labels wrote")
    return report


def _iter_decided(labels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    """Each label with the reason of its removal: empty if it is kept, None if that is open."""
    for label, said in labels.items():
        decision = Decision(said["decision"])
        removed, reasons = said["removed"], said["reasons"]
        if removed not in (True, False, None) or not all(isinstance(r, str) for r in reasons):
            raise ValueError(label)
        if decision is not Decision.UNDECIDED and removed is not (decision is Decision.REMOVE):
            raise ValueError(label)
        if removed is None:
            yield label, None
        else:
            yield label, (" and ".join(reasons) or UNDECIDED) if removed else ""
