"""Read a review's journal and state its result."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import curate
from curate.core.arguments import checked
from curate.manifest import store
from curate.manifest.review import attach_review
from curate.report.page import render_page
from curate.report.text import name_source
from curate.review import folder, sampling
from curate.review.decisions import Decision
from curate.review.folder import Inputs
from curate.review.journal import NAME, iter_events, last_decisions, load_header
from curate.review.report import VERSION, describe_assumption, describe_result, make_page
from curate.storage.atomic import save_text


@checked
def report_review(
    review: str | Path | None,
    out: str | Path | None = None,
    html: str | Path | None = None,
    attach: str | Path | None = None,
) -> dict[str, Any]:
    """State what a review has found, and the bound of its sample.

    Args:
        review: the review folder; None for the only one in the current folder.
        out: where to write ``review.json``, or None.
        html: where to write a page, or None.
        attach: the OUT whose manifest gets the report, without reviewers' names, or None.

    Returns:
        The content of ``review.json``; see ``manifests/review-1.schema.json``.

    Raises:
        DataError: if there is no such review, or its journal is damaged.
    """
    path = folder.find_folder(None if review is None else Path(review))
    report = _summarize(path)
    if out is not None:
        store.save_json(report, Path(out))
    if html is not None:
        save_text(Path(html), render_page(make_page(report), _name_source(path)))
    if attach is not None:
        attach_review(Path(attach), report)
    return report


def _summarize(path: Path) -> dict[str, Any]:
    header, plan = load_header(path), folder.load_plan(path)
    inputs: Inputs = folder.load_inputs(path)
    blind = bool(header.get("blind"))
    boxes: Counter[str] = Counter()
    images: Counter[str] = Counter()
    seconds: dict[str, float] = defaultdict(float)
    roles: Counter[str] = Counter()
    found: dict[str, bool] = {}
    checks: dict[str, dict[str, bool]] = defaultdict(dict)
    with last_decisions(path) as table:
        for of_image in _iter_images(table):
            roles[of_image[-1].role] += 1
            for decision in of_image:
                boxes.update(face.state for face in decision.faces)
                images[decision.reviewer] += 1
                seconds[decision.reviewer] += decision.seconds
                name, hit = decision.id, bool(decision.found)
                if decision.role == "check":
                    checks[decision.reviewer][name] = hit
                elif decision.role == "sample":
                    found[name] = found.get(name, False) or hit
                    checks[decision.reviewer]  # one who was shown no check is measured as well
        agreement = _compare(table, images) if blind else None
    report: dict[str, Any] = {
        "version": VERSION,
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "review": header["review"],
        "task": header["task"],
        "blind": blind,
        "source": {
            "layout": inputs.layout,
            "faces_sha256": header.get("faces_sha256"),
            "run_sha256": header.get("run_sha256"),
        },
        "manifest": {"records_sha256": header.get("run_sha256")},
        "journal_sha256": store.digest_file(path / NAME),
        "images": {
            "queue": _count_queue(path),
            "reviewed": roles["queue"],
            "sampled": roles["sample"],
            "checks": roles["check"],
        },
        "boxes": {name: boxes[name] for name in ("kept", "changed", "added", "rejected")},
        "reviewers": [
            {
                "reviewer": name,
                "images": count,
                "seconds": round(seconds[name], 1),
                "seconds_per_image": round(seconds[name] / count, 2),
            }
            for name, count in sorted(images.items())
        ],
        "bound": None if plan is None else _describe_sample(plan, found, checks),
        "agreement": agreement,
    }
    if report["bound"] is not None:
        report["bound"]["assumption"] = describe_assumption(report)
    return {**report, "statement": describe_result(report)}


def _name_source(path: Path) -> str:
    """The names of what was reviewed, without their folders, for the top of the page."""
    inputs = folder.load_inputs(path)
    given = (inputs.source, inputs.run or inputs.faces)
    return ", ".join(name_source(each) for each in given if each is not None)


def _count_queue(path: Path) -> int:
    """Images in the queue when the review was last started."""
    counts = (event["images"] for _, event in iter_events(path) if event["event"] == "started")
    return max([0, *(int(count) for count in counts)][-1:])


def _describe_sample(
    plan: sampling.Plan, found: Mapping[str, bool], checks: Mapping[str, Mapping[str, bool]]
) -> dict[str, Any]:
    target = plan.target
    return {
        **sampling.summarize(plan, found, checks),
        "draw": {
            "by": "smallest SHA-256 of seed and id",
            "seed": target.seed,
            "stratify": target.stratify,
            "allowed": target.allowed,
            "early": target.early,
            "checks": target.checks,
        },
    }


def _iter_images(table: sqlite3.Connection) -> Iterator[list[Decision]]:
    """The last decisions about each image, of one or more reviewers."""
    rows = table.execute("SELECT id, decision FROM decisions ORDER BY id, reviewer")
    for _, of_image in groupby(rows, key=itemgetter(0)):
        yield [Decision.from_dict(json.loads(text)) for _, text in of_image]


def _compare(table: sqlite3.Connection, images: Mapping[str, int]) -> dict[str, Any] | None:
    """Agreement of the two reviewers who decided most; None where no two looked at one image."""
    if len(images) < 2:
        return None
    (a, _), (b, _) = sorted(images.items(), key=lambda each: (-each[1], each[0]))[:2]
    pairs: Counter[tuple[bool, bool]] = Counter()
    for of_image in _iter_images(table):
        corrected = {each.reviewer: _corrects(each) for each in of_image if each.role != "check"}
        if a in corrected and b in corrected:
            pairs[corrected[a], corrected[b]] += 1
    return {"reviewers": [a, b], **sampling.agreement(pairs.elements())} if pairs else None


def _corrects(decision: Decision) -> bool:
    """Whether a reviewer found a face that was not hidden."""
    if decision.found is not None:
        return decision.found
    return any(face.state in ("added", "changed") for face in decision.faces)
