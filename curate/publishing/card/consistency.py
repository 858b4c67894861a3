"""Whether the numbers of a report agree with each other, as those that a command wrote do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.publishing.card.figures import escape

_TOLERANCE = 1e-5
"""Reports round shares and intervals to six places."""


def find_inconsistency(kind: str, report: Mapping[str, Any]) -> str | None:
    """The first number of a report that cannot be, with its pointer; None if there is none.

    Args:
        kind: of the report; numbers of audits and evaluations are compared.
        report: its content, whose groups can be read.
    """
    faults: Iterator[str] = iter(())
    if kind == "audit":
        faults = _iter_audit_faults(report)
    elif kind == "evaluate":
        faults = _iter_measure_faults("#", {key: report.get(key) for key in _MEASURED})
    return next(faults, None)


_MEASURED = ("overall", "face_free", "by_height", "by")


def _iter_audit_faults(report: Mapping[str, Any]) -> Iterator[str]:
    is_exact = report.get("noise") is None
    counted, records, reading = report.get("counted"), report["records"], report.get("reading")
    if is_exact and not _is_count(records):
        yield "#/records is not a count"
        return
    if is_exact and counted is not None and not _is_count(counted):
        yield "#/counted is not a count"
        return
    is_of_people = isinstance(reading, dict) and reading.get("per") == "person"
    if is_exact and counted is not None and not is_of_people and counted > records:
        yield "#/counted is more than its records"
    for attribute, found in report["attributes"].items():
        counts = []
        for name, group in found["groups"].items():
            at = f"#/attributes/{escape(attribute)}/groups/{escape(name)}"
            count, share = group.get("count"), group.get("share")
            counts.append(count)
            if is_exact and count is not None and not _is_count(count):
                yield f"{at}/count is not a count"
                return
            yield from _iter_interval_faults(f"{at}/share", share, group.get("ci95"))
            if not is_exact or count is None or share is None or counted is None:
                continue
            if abs(share * counted - count) > _TOLERANCE * max(counted, 1):
                yield f"{at}/share is not its count of #/counted"
        if is_exact and counted is not None and None not in counts and sum(counts) != counted:
            yield f"the counts of #/attributes/{escape(attribute)} do not sum to #/counted"


def _iter_measure_faults(at: str, value: Any) -> Iterator[str]:
    """Faults of every measure in a part of an evaluation: its value with its interval."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return
    if "value" in value and "interval" in value:
        yield from _iter_interval_faults(f"{at}/value", value["value"], value["interval"])
        return
    for key, item in value.items():
        yield from _iter_measure_faults(f"{at}/{escape(key)}", item)


def _iter_interval_faults(at: str, share: Any, interval: Any) -> Iterator[str]:
    """Faults of a share and its interval, of which each may be absent."""
    if share is not None and not (_is_number(share) and 0 <= share <= 1):
        yield f"{at} is not a share"
    elif interval is not None:
        if not (
            isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval))
        ):
            yield f"the interval of {at} is not two numbers"
        elif not 0 <= interval[0] <= interval[1] <= 1:
            yield f"the interval of {at} is not within 0 and 1"
        elif share is not None and not (
            interval[0] - _TOLERANCE <= share <= interval[1] + _TOLERANCE
        ):
            yield f"{at} is not in its interval"


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
