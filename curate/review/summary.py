"""Read a review's journal and state its result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import curate
from curate.manifest import store
from curate.manifest.review import attach_review
from curate.report.page import render_page
from curate.review import folder, sampling
from curate.review.decisions import Decision
from curate.review.folder import Inputs
from curate.review.journal import NAME, iter_events, load_header
from curate.review.report import VERSION, describe_result, make_page
from curate.storage.atomic import save_text


def report_review(
    place: str | Path | None,
    out: str | Path | None = None,
    html: str | Path | None = None,
    attach: str | Path | None = None,
) -> dict[str, Any]:
    """State what a review has found, and the bound of its sample.

    Args:
        place: the review folder; None for the only one in the current folder.
        out: where to write ``review.json``, or None.
        html: where to write a page, or None.
        attach: the OUT whose manifest gets the report, without reviewers' names, or None.

    Returns:
        The content of ``review.json``; see ``manifests/review-1.schema.json``.

    Raises:
        DataError: if there is no such review, or its journal is damaged.
    """
    path = folder.find_folder(None if place is None else Path(place))
    report = _summarize(path)
    if out is not None:
        store.save_json(report, Path(out))
    if html is not None:
        save_text(Path(html), render_page(make_page(report)))
    if attach is not None:
        attach_review(Path(attach), report)
    return report


def _summarize(path: Path) -> dict[str, Any]:
    header, plan = load_header(path), folder.load_plan(path)
    inputs: Inputs = folder.load_inputs(path)
    last = _last_decisions(path, bool(header.get("blind")))
    boxes: Counter[str] = Counter()
    reviewers: dict[str, list[float]] = defaultdict(list)
    roles: Counter[str] = Counter()
    found: dict[str, bool] = {}
    checks: dict[str, dict[str, bool]] = defaultdict(dict)
    pairs: dict[str, dict[str, bool]] = defaultdict(dict)
    images: dict[str, str] = {}
    for decision in last.values():
        boxes.update(decision["states"])
        reviewers[decision["reviewer"]].append(decision["seconds"])
        name, role, hit = decision["id"], decision["role"], decision["found"]
        images[name] = role
        if role == "check":
            checks[decision["reviewer"]][name] = bool(hit)
            continue
        if role == "sample":
            found[name] = found.get(name, False) or bool(hit)
        pairs[name][decision["reviewer"]] = bool(hit) if hit is not None else decision["corrects"]
    roles.update(images.values())
    report = {
        "version": VERSION,
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "review": header["review"],
        "task": header["task"],
        "blind": bool(header.get("blind")),
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
                "images": len(seconds),
                "seconds": round(sum(seconds), 1),
                "seconds_per_image": round(sum(seconds) / len(seconds), 2),
            }
            for name, seconds in sorted(reviewers.items())
        ],
        "bound": None if plan is None else _describe_sample(plan, found, checks),
        "agreement": _compare(pairs) if header.get("blind") else None,
    }
    return {**report, "statement": describe_result(report)}


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


def _last_decisions(path: Path, blind: bool) -> dict[tuple[str, str], dict[str, Any]]:
    """What matters of the last decision about every image, of every reviewer if blind."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for _, event in iter_events(path):
        if event["event"] not in ("decision", "withdrawal"):
            continue
        key = (event["id"], event["reviewer"] if blind else "")
        last.pop(key, None)
        if event["event"] == "decision":
            decision = Decision.from_dict(event)
            states = Counter(face.state for face in decision.faces)
            last[key] = {
                "id": decision.id,
                "reviewer": decision.reviewer,
                "role": decision.role,
                "found": decision.found,
                "seconds": decision.seconds,
                "states": dict(states),
                "corrects": bool(states["added"] or states["changed"]),
            }
    return last


def _compare(pairs: Mapping[str, Mapping[str, bool]]) -> dict[str, Any] | None:
    """Agreement of the two reviewers who decided most; None where no two looked at one image."""
    counts = Counter(name for answers in pairs.values() for name in answers)
    if len(counts) < 2:
        return None
    (a, _), (b, _) = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:2]
    both = [(each[a], each[b]) for each in pairs.values() if a in each and b in each]
    return {"reviewers": [a, b], **sampling.agreement(both)} if both else None
