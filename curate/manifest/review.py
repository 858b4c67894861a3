"""The result of a review in a manifest: ``review.json``, optional."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.core.documents import parse_json
from curate.core.errors import UsageError
from curate.manifest import store
from curate.manifest.checksums import update_checksums
from curate.manifest.files import MANIFEST, REVIEW, Problem
from curate.storage.regular import open_regular

KEYS = frozenset(
    {
        *("version", "tool", "review", "statement", "task", "blind", "source", "manifest"),
        *("journal_sha256", "images", "boxes", "reviewers", "bound", "agreement"),
    }
)
"""Every key of a review's report."""

_LARGEST = 1_000_000  # bytes
_LONGEST_TEXT, _LONGEST_LIST = 500, 2_000


def attach_review(out: Path, report: Mapping[str, Any]) -> None:
    """Put the report of a review into the manifest of the run that it is about.

    Reviewers' names are replaced by numbers: a manifest may be published.

    Args:
        out: the OUT of a finished run.
        report: as `curate.report_review` returns it.

    Raises:
        UsageError: if the review is about something else.
        ManifestError: if OUT has no manifest.
    """
    run = store.load_run(out / MANIFEST)
    own, source = run["records"]["sha256"], report["source"]
    same_boxes = source["faces_sha256"] == run["recipe"].get("faces_sha256")
    if source["run_sha256"] != own and not (source["faces_sha256"] and same_boxes):
        raise UsageError(
            f"the review is not about {out}: it looked neither at its outputs nor at the boxes "
            "that it was made from"
        )
    content = {**_without_names(report), "manifest": {"records_sha256": own}}
    store.save_json(content, out / MANIFEST / REVIEW)
    update_checksums(out, [f"{MANIFEST}/{REVIEW}"])


def check_review(out: Path, records_sha256: str) -> Iterator[Problem]:
    """Find what is wrong with a manifest's ``review.json``, if there is one.

    Args:
        out: the output folder.
        records_sha256: digest of the manifest's records.
    """
    path = f"{MANIFEST}/{REVIEW}"
    try:
        if not (out / path).is_symlink() and not (out / path).exists():
            return
        with open_regular(out / path) as file:
            data = file.read(_LARGEST + 1)
        content = parse_json(data, path) if len(data) <= _LARGEST else None
    except OSError as error:
        yield Problem("manifest", path, error.strerror or "cannot be read")
        return
    except ValueError:
        content = None
    if not isinstance(content, dict) or set(content) != KEYS or not _is_plain(content):
        yield Problem("manifest", path, "is not the report of a review")
        return
    if content["manifest"] != {"records_sha256": records_sha256}:
        yield Problem("manifest", path, "is about other outputs")


def _without_names(report: Mapping[str, Any]) -> dict[str, Any]:
    names = [each["reviewer"] for each in report["reviewers"]]
    numbers = {name: f"reviewer {index}" for index, name in enumerate(names, start=1)}

    def replace(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: replace(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [replace(each, key) for each in value]
        is_name = key in ("reviewer", "reviewers") and isinstance(value, str)
        return numbers.get(value, "reviewer") if is_name else value

    return {key: replace(value, key) for key, value in report.items()}


def _is_plain(value: Any) -> bool:
    """Whether a value is of numbers and short texts, in which no picture can hide."""
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list):
        return len(value) <= _LONGEST_LIST and all(map(_is_plain, value))
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return value is None or isinstance(value, (bool, int, float))
