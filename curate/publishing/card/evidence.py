"""The evidence behind a card: the public manifest, and the reports in the folder of OUT."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.publishing.card.consistency import find_inconsistency
from curate.publishing.card.header import find_faults
from curate.publishing.card.reviews import count_reviewed
from curate.publishing.dataset import Dataset, find_names
from curate.storage.regular import load_json

_DETECTION = ("detector", "profile", "confidence", "max_side", "weights_sha256")
"""Keys of a recipe that decide what a detector finds."""

SIGNS: Mapping[str, tuple[str, ...]] = {
    "evaluate": ("truth_sha256", "overall", "face_free"),
    "audit": ("attributes", "census", "records"),
    "balance": ("recipe", "comparisons", "labels", "counts"),
    "impact": ("pairs", "top1", "mcnemar"),
    "train": ("cells", "gaps", "runs"),
    "review": ("review", "statement", "bound", "images"),
    "attack": ("attacks",),
}
"""Keys by which a report of each command is known."""
_OF_RUNS = ("impact", "train", "review", "attack")
"""Reports that name the OUT that they are of."""
_NAME = re.compile(r"[^#<>|`\n]+\.json")
"""Names of reports that a card can cite."""


class ReportError(DataError):
    """A report that a card cites and that cannot be used.

    Args:
        path: the report.
        what: what is wrong with it.
    """

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"{path} {what}")
        self.name, self.what = Path(path).name, what


@dataclass(frozen=True, slots=True)
class Evidence:
    """Reports by kind, and why others were left out.

    Args:
        names: the name that pointers use, by kind.
        documents: their content, by that name.
        notes: a line for each file that was left out.
    """

    names: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def load_evidence(
    dataset: Dataset,
    given: Sequence[Path],
    search: bool = True,
    cited: Collection[str] = (),
) -> Evidence:
    """Find the reports of a dataset.

    Args:
        dataset: the finished OUT.
        given: report files that the user named.
        search: whether JSON files beside OUT are looked at as well.
        cited: names of the reports that the card, as it is, cites.

    Raises:
        UsageError: if two named files are of one kind.
        DataError: if a named file, or one that is cited, cannot be read or is damaged, or a
            named file is not a report of this dataset.
    """
    evidence = Evidence()
    for path in given:
        if not path.is_file():
            raise DataError(f"--report {path} is not a file; give a report of curate")
        if not _NAME.fullmatch(path.name) or path.name == "croissant.json":
            raise DataError(
                f"--report {path}: a card cites a report by its name, which must end in .json "
                "without any of # < > | ` and not be croissant.json; rename it"
            )
        value = _load(path)
        kind = _kind_of(value)
        if kind is None:
            raise DataError(f"--report {path} is not a report of curate that a card can use")
        if fault := _find_fault(kind, value, dataset):
            raise DataError(f"--report {path} {fault}")
        _add(evidence, _stage(kind, value, dataset), path.name, value)
    if search:
        _search(evidence, dataset, {path.resolve() for path in given}, cited)
    _add_own(evidence, dataset.out, dataset.facts)
    return evidence


def _search(evidence: Evidence, dataset: Dataset, given: set[Path], cited: Collection[str]) -> None:
    """Add the reports in the folder of OUT, except of kinds that the user named."""
    named = set(evidence.names)
    for path in sorted(dataset.out.resolve().parent.glob("*.json")):
        if path.resolve() in given or not _NAME.fullmatch(path.name) or not path.is_file():
            continue
        try:
            value = _load(path)
        except ReportError as error:
            if path.name in cited:
                what = f"{error.what}, and the card cites it; make the report again"
                raise ReportError(path, what) from None
            continue
        kind = _kind_of(value)
        if kind is None and path.name in cited:
            raise ReportError(
                path, "is not a report any more, and the card cites it; make the report again"
            )
        if kind is None or _stage(kind, value, dataset) in named:
            continue
        fault = _find_fault(kind, value, dataset)
        if fault is None and dataset.is_correction and kind in ("evaluate", "impact", "train"):
            fault = _find_unnamed(kind, value)
        if fault is not None and path.name in cited and fault.startswith("is damaged"):
            raise ReportError(path, fault)
        if fault is not None:
            evidence.notes.append(f"{path.name} is left out: it {fault}")
            continue
        _add(evidence, _stage(kind, value, dataset), path.name, value)


def _find_unnamed(kind: str, value: Mapping[str, Any]) -> str | None:
    """Why a report may be of something else than a correction, unless the user names it."""
    if kind == "evaluate":
        return "may be of another detector; if it is not, name it with --report"
    if value.get("manifest") is None:
        return "may be of another OUT; if it is not, name it with --report"
    return None


def _stage(kind: str, value: Mapping[str, Any], dataset: Dataset) -> str:
    """The kind under which a report is kept: an audit of SOURCE is not one of OUT."""
    if kind != "audit" or value.get("noise") is not None:
        return kind
    return kind if value["records"] == _published(dataset.facts) else "source"


def _add(evidence: Evidence, kind: str, name: str, value: Any) -> None:
    if kind in evidence.names:
        raise UsageError(
            f"{evidence.names[kind]} and {name} are both reports of {kind}; name the one to use "
            "with --report"
        )
    evidence.names[kind] = name
    evidence.documents[name] = value


def _add_own(evidence: Evidence, out: Path, facts: Mapping[str, Any]) -> None:
    """The reports that a manifest holds: a review's, and the audits of a correction."""
    review = out / "manifest" / "review.json"
    if "review" not in evidence.names and review.is_file():
        _add(evidence, "review", "manifest/review.json", _load(review))
    if "report" not in facts:
        return
    evidence.names["balance"] = "manifest/balance.json"
    evidence.documents["manifest/balance.json"] = facts["report"]
    for kind in ("before", "after"):
        path = out / "manifest" / f"{kind}.json"
        if path.is_file():
            evidence.names[kind] = f"manifest/{kind}.json"
            evidence.documents[f"manifest/{kind}.json"] = _load(path)


def _load(path: Path) -> Any:
    try:
        return load_json(path)
    except OSError as error:
        raise ReportError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ReportError(path, "is not valid JSON") from None


def _kind_of(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    found = [kind for kind, keys in SIGNS.items() if all(key in value for key in keys)]
    return found[0] if len(found) == 1 else None


def _published(facts: Mapping[str, Any]) -> int:
    """Images of a run's or a correction's output."""
    counts = facts["counts"]
    if "written" in counts:
        return int(counts["written"])
    return int(counts["kept"] + counts["fixed"] + counts["made"])


def _is_readable(kind: str, value: Mapping[str, Any]) -> bool:
    """Whether the groups and counts of a report, if it has any, are as a card reads them."""
    try:
        if kind == "evaluate":
            set(value["source"]["sample"])
        if kind == "audit" and value.get("input"):
            set(value["input"].get("images", {"sample": ()})["sample"])
        if kind == "review":
            count_reviewed(value)
        if kind == "audit":
            for found in value["attributes"].values():
                for group in found["groups"].values():
                    group.get("count")
        if kind == "evaluate":
            groups = [*value.get("by_height", [])]
            for found in value.get("by", {}).values():
                groups += found["groups"]
            return all(isinstance(g["name"], str) and type(g["faces"]) is int for g in groups)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def _find_other_images(value: Mapping[str, Any], dataset: Dataset) -> str | None:
    """Why an audit is neither of the images of OUT nor of those of its source, or None.

    One with noise or without its input, such as several sites together, does not name them.
    """
    if value.get("noise") is not None:
        return None
    facts, published = dataset.facts, _published(dataset.facts)
    if value["records"] not in (published, facts["counts"].get("images")):
        return f"is of {value['records']!r} images, and OUT has {published:,}; audit OUT/data"
    if value.get("input") is None:
        return None
    if (images := value["input"].get("images")) is None:
        return "is of a table alone, and does not name the images; audit OUT/data with --groups"
    sample = set(images["sample"])
    written, every = find_names(dataset, sample)
    if (written if value["records"] == published else every) != sample:
        return "is of images with other names than OUT has; audit OUT/data"
    return None


def _find_other_run(kind: str, value: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """Why a report is of another run, or None."""
    manifest, own = value.get("manifest"), facts["records"]["sha256"]
    found = manifest.get("records_sha256") if isinstance(manifest, dict) else None
    if found == own:
        return None
    if found is not None:
        return (
            "was made from another OUT, or from an earlier state of this one; make the report again"
        )
    if kind != "review":
        if "report" in facts:  # of a correction, which only its maintainer knows
            return None
        return "does not name its OUT; make the report with the OUT of curate blur"
    source = value.get("source") or {}
    faces = source.get("faces_sha256")
    reviews = facts.get("given_faces", {}).get("reviews", ())
    if any(each.get("id") == value["review"] for each in reviews):
        return None
    if faces is not None and faces == facts.get("recipe", {}).get("faces_sha256"):
        return None
    return "is of faces that OUT was not made with"


def _find_empty(kind: str, value: Mapping[str, Any]) -> str | None:
    """What a report would have to count for its figures to say anything, if it counts none."""
    counts = {
        "evaluate": (value.get("faces", {}).get("counted"), "labeled face"),
        "impact": (value.get("pairs"), "pair of images"),
        "audit": (value.get("counted"), "record with a group"),
    }
    count, name = counts.get(kind, (None, ""))
    return name if count == 0 else None


def _find_fault(kind: str, value: Mapping[str, Any], dataset: Dataset) -> str | None:
    """Why a report is not of this dataset, or None."""
    facts = dataset.facts
    if type(value.get("version")) is not int:
        return "does not state its version"
    if kind == "evaluate" and "source" not in value:
        return "was made by an earlier curate and does not name its images; make the report again"
    if not _is_readable(kind, value):
        return "is damaged: its groups or counts cannot be read"
    if (found := _find_empty(kind, value)) is not None:
        return f"has figures of no {found}"
    if fault := find_inconsistency(kind, value):
        return f"is damaged: {fault}; make the report again"
    if kind == "audit" and (fault := _find_other_images(value, dataset)):
        return fault
    if kind == "attack" and (faults := find_faults(value, "attack-1.schema.json")):
        return f"does not fit manifests/attack-1.schema.json: {faults[0]}"
    if kind in _OF_RUNS and (fault := _find_other_run(kind, value, facts)):
        return fault
    recipe, own = value.get("recipe"), facts.get("recipe", {})
    if kind == "evaluate" and isinstance(recipe, dict) and "profile" in own:
        if own.get("faces_sha256") is not None:  # the detector is that of the file of faces
            own = facts.get("given_faces", {}).get("recipe", {})
        if not own:
            return (
                "is of a detector, and OUT does not record which one found its faces; measure "
                "those with curate evaluate --detections"
            )
        differing = [key for key in _DETECTION if recipe.get(key) != own.get(key)]
        if differing:
            return f"is of another detector than OUT ({', '.join(differing)} differ)"
    return None
