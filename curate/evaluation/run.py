"""Measure a detector on labelled images: does it protect everyone equally?

The detector's own rule decides at the operating point, where it need not be one
threshold on one score: ``fusion`` asks more of a face that is alone in its image,
and of a small one. A sweep therefore takes its figures from two runs: the
operating point from one with the recipe as it is, and the curves from one that lets
everything through from a low confidence on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import curate
from curate import codec
from curate.codec import crop_jpeg
from curate.core.errors import DataError, PausedError, UsageError, WithheldError
from curate.core.faces import TruthImage
from curate.core.geometry import Box, grow, to_upright
from curate.core.protocols import Source
from curate.evaluation.detections import Detections, load_detections
from curate.evaluation.matching import JudgedImage, Rules, judge, tabulate
from curate.evaluation.measure import Evaluation, choose_attributes, evaluate
from curate.evaluation.report import VERSION, to_dict
from curate.layouts import open_source
from curate.layouts.faces import table
from curate.layouts.faces.truth import load_truth
from curate.layouts.groups import load_groups
from curate.manifest.found import load_account
from curate.manifest.store import digest_file, digest_folder
from curate.pipeline.detect import detect
from curate.pipeline.session import Session
from curate.pipeline.tools import margin_of
from curate.recipe import Recipe
from curate.report.values import Picture

SWEEP_FROM = 0.02
"""Confidence from which on a sweep's run lets claims through."""

Counts = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to measure.

    Args:
        truth: the labelled faces.
        groups: a table of further attributes of whole images, or None.
        by: attributes to group faces by; by default all with few values.
        detections: what a detector found, or None to run it.
        sweep: whether to look at other thresholds as well.
        least_height: labelled faces lower than this, pixels, count neither way.
    """

    truth: Path
    groups: Path | None = None
    by: tuple[str, ...] = ()
    detections: Path | None = None
    sweep: bool = False
    least_height: float = 8.0


@dataclass(frozen=True, slots=True)
class Miss:
    """A labelled face that would not be hidden."""

    id: str
    box: Box
    hidden: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured.

    Args:
        evaluation: the figures.
        facts: what was compared with what, for the report.
        misses: faces that would not be hidden, the highest first.
    """

    evaluation: Evaluation
    facts: Mapping[str, Any]
    misses: tuple[Miss, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {"version": VERSION, **self.facts, **to_dict(self.evaluation)}


def evaluate_detector(
    source: str | Path,
    question: Question,
    recipe: Recipe | None = None,
    session: Session | None = None,
) -> Answer:
    """Measure a detector on the labelled images of a dataset.

    Args:
        source: the dataset; only read.
        question: what to measure.
        recipe: how to detect, and by which margin boxes grow.
        session: how to run.

    Raises:
        UsageError: if the request contradicts itself.
        DataError: if a file cannot be used, or none of the labelled images is in SOURCE.
        SetupError: if the environment lacks something.
    """
    recipe, session = recipe or Recipe(), session or Session()
    rules = Rules(margin=margin_of(recipe), least_height=question.least_height, seed=recipe.seed)
    opened = open_source(str(source), session.layout)
    truth = load_truth(question.truth)
    known, unlabelled = _find_labelled(opened, truth, question.truth)
    counts: dict[str, Any] = {
        "labelled": len(truth),
        "not_in_source": len(truth) - len(known),
        "not_labelled": unlabelled,
    }
    images = [truth[name] for name in known]
    counts["groups"] = None
    if question.groups is not None:
        images, counts["groups"] = _join_groups(images, question.groups)
    # Whatever is wrong with the request is said before the detector has worked for hours.
    choose_attributes(tabulate([judge(image, (), rules) for image in images], rules), question.by)
    found, account = _look(source, question, recipe, session)
    swept = _look_closer(source, question, recipe, session) if question.sweep else None
    images, withheld = _sort_out(images, [found, swept or found])
    if not images:
        why = "; ".join(f"{reason} ({count:,})" for reason, count in withheld.reasons.items())
        raise DataError(f"no detector has looked at any of the labelled images: {why}")
    judged = [_judge(image, found, rules) for image in images]
    everything = judged if question.sweep else None
    if swept is not None:
        everything = [_judge(image, swept, rules) for image in images]
    evaluation = evaluate(judged, rules, question.by, everything)
    counts |= {"evaluated": len(images), "withheld": asdict(withheld)}
    facts = _describe(question, counts, account)
    return Answer(evaluation, facts, tuple(_find_misses(judged, rules)))


@dataclass(frozen=True, slots=True)
class _Withheld:
    """Labelled images that are part of no figure, their faces, and why."""

    images: int
    faces: int
    reasons: dict[str, int]


def _find_labelled(
    source: Source, truth: Mapping[str, TruthImage], file: Path
) -> tuple[list[str], int]:
    """Ids of the labelled images in SOURCE, and how many of its images have no labels."""
    known, unlabelled = [], 0
    for record in source.records():
        if record.id in truth:
            known.append(record.id)
        else:
            unlabelled += 1
    if not known:
        raise DataError(
            f"none of the {len(truth):,} images that {file} speaks of is in SOURCE; "
            "ids are paths relative to SOURCE"
        )
    return known, unlabelled


def _join_groups(images: Sequence[TruthImage], file: Path) -> tuple[list[TruthImage], Counts]:
    """The images with the table's columns as attributes of every face, and how ids fit."""
    groups, joined, matched = load_groups(file), [], 0
    for image in images:
        values = groups.get(image.id, {})
        matched += image.id in groups
        clash = {name for face in image.faces for name in face.attributes} & set(values)
        if clash:
            raise UsageError(
                f"{file} and the labels both have {sorted(clash)[0]!r}; rename the column"
            )
        faces = (replace(face, attributes={**face.attributes, **values}) for face in image.faces)
        joined.append(replace(image, faces=tuple(faces)))
    if not matched:
        raise DataError(f"none of the {len(groups):,} ids of {file} is a labelled image of SOURCE")
    return joined, {"lines": len(groups), "matched": matched}


def _look(
    source: str | Path, question: Question, recipe: Recipe, session: Session
) -> tuple[Detections, dict[str, Any] | None]:
    """What the detector finds as it is, or the given file, and the account of its making."""
    file = question.detections
    if file is not None:
        session.tell(f"Detections are those of {file}.")
        return load_detections(file), load_account(file) if table.recognise(file) else None
    with TemporaryDirectory(prefix="curate-evaluate-") as folder:
        file = Path(folder) / "faces.parquet"
        try:
            detect(source, file, recipe, session)
        except PausedError:
            raise PausedError(
                "stopped; nothing is kept: for a dataset that takes long, run curate detect and "
                "give its table as --detections"
            ) from None
        return load_detections(file), load_account(file)


def _look_closer(
    source: str | Path, question: Question, recipe: Recipe, session: Session
) -> Detections | None:
    """What the detector finds from a low confidence on; None where a file is given."""
    if question.detections is not None:
        return None
    return _look(source, question, replace(recipe, confidence=SWEEP_FROM), session)[0]


def _sort_out(
    images: Sequence[TruthImage], all_found: Sequence[Detections]
) -> tuple[list[TruthImage], _Withheld]:
    """The images that every run has looked at, at the size that the labels are for."""
    kept: list[TruthImage] = []
    reasons: Counter[str] = Counter()
    faces = 0
    for image in images:
        trouble = next(filter(None, (_trouble(image, found) for found in all_found)), None)
        if trouble is None:
            kept.append(image)
        else:
            reasons[trouble] += 1
            faces += len(image.faces)
    return kept, _Withheld(reasons.total(), faces, dict(reasons.most_common()))


def _trouble(image: TruthImage, found: Detections) -> str | None:
    """Why an image cannot be part of the figures: a short word, to count."""
    if image.id not in found.found:
        return found.withheld.get(image.id, "not-looked-at").partition(":")[0]
    size = found.sizes.get(image.id)
    return "other-size" if image.size and size and image.size != size else None


def _judge(image: TruthImage, found: Detections, rules: Rules) -> JudgedImage:
    size = found.sizes.get(image.id, image.size)
    return judge(image, found.found[image.id], rules, size)


def _find_misses(images: Sequence[JudgedImage], rules: Rules) -> list[Miss]:
    misses = [
        Miss(image.id, face.box, face.hidden)
        for image in images
        for face in image.faces
        if face.hidden < rules.hidden_share
    ]
    return sorted(misses, key=lambda miss: (-miss.box.height, miss.id, miss.box))


def _describe(
    question: Question, counts: Mapping[str, Any], account: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What was compared with what; nothing about the host, the time or paths."""
    made = account or {}
    return {
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "truth_sha256": _digest(question.truth),
        "groups_sha256": _digest(question.groups),
        "detections_sha256": _digest(question.detections),
        "recipe": made.get("recipe"),
        "detectors": made.get("detectors", []),
        "images": dict(counts),
    }


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    return digest_folder(path) if path.is_dir() else digest_file(path)


MOST = 48
"""More pictures than this nobody looks at."""

_CONTEXT, _SIDE = 0.6, 136


def picture_misses(source: str | Path, layout: str, misses: Iterable[Miss]) -> tuple[Picture, ...]:
    """The first misses as small pictures with some of their surroundings.

    Args:
        source: the dataset; only read.
        layout: its layout, or ``auto``.
        misses: the most important first.
    """
    opened = open_source(str(source), layout)
    pictures: list[Picture] = []
    for miss in islice(misses, MOST):
        record = opened.find(miss.id)
        if record is None:
            continue
        try:
            picture = codec.load(opened.read(record))
        except WithheldError:
            continue
        box = to_upright(miss.box, picture.orientation, picture.width, picture.height)
        jpeg = crop_jpeg(codec.upright_rgb(picture), grow(box, _CONTEXT), _SIDE)
        caption = f"{miss.id}: {miss.box.height:.0f} px high, {100 * miss.hidden:.0f} % hidden"
        pictures.append(Picture(jpeg, caption))
    return tuple(pictures)
