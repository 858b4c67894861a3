"""Load audit reports in order to merge them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.balance.audit.measure import Rules
from curate.balance.audit.report import VERSION
from curate.balance.census import Census, census_from_dict
from curate.core.errors import DataError, describe_malformed
from curate.report.document import load_report


@dataclass(frozen=True, slots=True)
class SiteAudit:
    """The parts of a report that merging needs.

    Args:
        census: the counts.
        rules: the parameters.
        reading: how records were counted.
        sites: number of sites already merged.
        min_cell: smallest published count, or None.
        noise: the privacy budget spent, or None.
    """

    census: Census
    rules: Rules
    reading: Mapping[str, Any]
    sites: int
    min_cell: int | None
    noise: Mapping[str, Any] | None


def load_audit(path: Path) -> SiteAudit:
    """Load a report.

    Raises:
        DataError: if it cannot be read or is not an audit.
        SchemaVersionError: if it was written by a newer release.
    """
    report = load_report(path, "audit", "curate audit", VERSION)
    try:
        return _parse(report)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        line = describe_malformed(error)
        raise DataError(
            f"{path} is not a report of curate audit that can be merged ({line})"
        ) from None


def _parse(report: Mapping[str, Any]) -> SiteAudit:
    rules = report["rules"]
    targets = {
        tuple(target["columns"]): {tuple(group): float(share) for group, share in target["groups"]}
        for target in rules["targets"]
    }
    for bins in report["reading"]["bins"].values():
        if not all(isinstance(name, str) for name in bins["names"]):
            raise ValueError("ranges without names")
    noise = report["noise"]
    scale = 0.0 if noise is None else float(noise["scale"])
    census = census_from_dict(report["census"], int(report["records"]))
    return SiteAudit(
        census=replace(census, noise=scale),
        rules=Rules(targets, int(rules["threshold"]), int(rules["seed"]), _references(rules)),
        reading=report["reading"],
        sites=int(report["sites"]),
        min_cell=report["suppressed"]["min_cell"],
        noise=noise,
    )


def _references(rules: Mapping[str, Any]) -> dict[str, str]:
    references = rules.get("references", {})
    if not all(isinstance(group, str) for group in references.values()):
        raise ValueError("reference groups are not names")
    return dict(references)
