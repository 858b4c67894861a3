"""Evaluate a detector on labeled images.

At the operating point the detector's own rule decides, which need not be a threshold on one
score: ``fusion`` requires more of a face that is alone in its image, and of a small
one. A sweep therefore needs two runs: one with the recipe as it is for the operating
point, and one with a low minimum confidence for the curves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curate import codec
from curate.codec import crop_jpeg
from curate.core.arguments import checked
from curate.core.errors import DataError, PausedError, UsageError, WithheldError
from curate.core.faces import TruthImage
from curate.core.geometry import grow, to_upright
from curate.core.protocols import Source
from curate.core.records import set_names, set_paths
from curate.evaluation.detections import Detections, load_detections
from curate.evaluation.matching import MatchedImage, Rules, match_image, tabulate
from curate.evaluation.measure import choose_attributes, measure
from curate.evaluation.report import Evaluation, Miss
from curate.evaluation.sweep import SWEEP_FROM
from curate.layouts import explain_no_images, open_source
from curate.layouts.faces import table
from curate.layouts.faces.truth import load_truth
from curate.layouts.groups import load_groups, match_groups
from curate.layouts.memory_table import Table, TableLike, as_table, describe_table, set_tables
from curate.manifest.faces import load_faces_info
from curate.manifest.identity import ImageSample
from curate.manifest.store import digest_bytes, digest_file, digest_folder
from curate.pipeline.detect import detect
from curate.pipeline.given_faces import find_digests
from curate.pipeline.progress import show_progress
from curate.pipeline.session import Session, configure
from curate.pipeline.tools import check_detector, load_provenance, margin_of
from curate.recipe import Recipe
from curate.report.document import describe_tool
from curate.report.values import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Options of an evaluation.

    Args:
        groups: a table of further attributes of images, a file or in memory such as a
            DataFrame, or None.
        by: attributes to group faces by, or several crossed, as in ``gender,age``; by default
            all with 2 to 12 values.
        detections: a file of detections, or None to run the recipe's detector.
        sweep: whether to compute curves at other thresholds; detects twice.
        min_height: labeled faces lower than this, pixels, are ignored.
        show_misses: whether the HTML page shows crops of missed faces.
    """

    groups: TableLike | None = None
    by: tuple[str, ...] = ()
    detections: Path | None = None
    sweep: bool = False
    min_height: float = 8.0
    show_misses: bool = False

    def __post_init__(self) -> None:
        set_tables(self, "groups")
        set_paths(self, "detections")
        set_names(self, "by")


@checked
def evaluate(
    source: str | Path,
    faces: str | Path,
    options: EvaluationOptions | None = None,
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
    **values: Any,
) -> Evaluation:
    """Measure a detector on labeled images: recall, precision and hidden faces, by group.

    >>> result = curate.evaluate("photos", "labels.json", groups="people.csv")   # doctest: +SKIP
    >>> result                                                                   # doctest: +SKIP
    <Evaluation of 231 labeled faces: recall_30 97.0 %, recall_50 95.7 %, hidden 96.1 %>

    Args:
        source: path or URI of the dataset; only read.
        faces: the labeled faces, in any format that `blur` accepts, with boxes in pixels.
        options: options of the evaluation, or None for the defaults.
        recipe: how to detect, and how much boxes grow, or None for the defaults.
        session: how to run, or None for the defaults.
        quiet: show no progress and no messages.
        values: fields of `EvaluationOptions`, such as ``groups``, ``by`` or ``sweep``, of
            `Recipe`, such as ``profile``, and of `Session`; they override them.

    Raises:
        UsageError: if the options contradict each other.
        DataError: if a file cannot be used, or none of the labeled images is in SOURCE.
        SetupError: if something is missing from the environment.
    """
    own = {each.name for each in fields(EvaluationOptions)}
    options = replace(
        options or EvaluationOptions(), **{n: v for n, v in values.items() if n in own}
    )
    further = {name: value for name, value in values.items() if name not in own}
    recipe, session = configure(recipe, session, further)
    with show_progress(session, quiet) as session:
        request = _Request(str(source), Path(faces), options, recipe, session)
        result = _evaluate(request)
        if options.show_misses:
            pictures = picture_misses(source, session.layout, result.misses)
            result = replace(result, pictures=pictures)
    return result


@dataclass(frozen=True, slots=True)
class _Request:
    source: str
    labels: Path
    options: EvaluationOptions
    recipe: Recipe
    session: Session


def _evaluate(request: _Request) -> Evaluation:
    options, recipe = request.options, request.recipe
    check_detector(recipe)
    rules = Rules(margin=margin_of(recipe), min_height=options.min_height, seed=recipe.seed)
    opened = open_source(request.source, request.session.layout)
    truth = load_truth(request.labels, request.session.notify)
    known, unlabeled = _find_labeled(opened, truth, request.labels)
    counts: dict[str, Any] = {
        "labeled": len(truth),
        "not_in_source": len(truth) - len(known),
        "not_labeled": unlabeled,
    }
    images = [truth[name] for name in known]
    _check_decided(images, request)
    counts["groups"] = None
    groups = as_table(options.groups)
    if groups is not None:
        images, counts["groups"] = _join_groups(images, groups)
    # Options are checked before the detector runs, which can take hours.
    labeled = [match_image(image, (), rules) for image in images]
    choose_attributes(tabulate(labeled, rules), options.by)
    found, info = _detect(request, recipe)
    swept = None
    if options.sweep and options.detections is None:
        swept = _detect(request, replace(recipe, confidence=SWEEP_FROM))[0]
    images, withheld = _select_images(images, [found, swept or found])
    if not images:
        why = "; ".join(f"{reason} ({count:,})" for reason, count in withheld.reasons.items())
        raise DataError(f"no detector ran to completion on any of the labeled images: {why}")
    matched = [_match(image, found, rules) for image in images]
    everything = matched if options.sweep else None
    if swept is not None:
        everything = [_match(image, swept, rules) for image in images]
    measures = measure(matched, rules, options.by, everything)
    counts |= {
        "evaluated": len(images),
        "by_detector": sum(image.by_detector for image in images),
        "withheld": asdict(withheld),
    }
    facts = {**_describe(request, counts, info), "source": _sample_images(opened, images, found)}
    return Evaluation(measures, facts, tuple(_find_misses(matched, rules)))


@dataclass(frozen=True, slots=True)
class _Withheld:
    """Labeled images without detections, their faces, and the reasons."""

    images: int
    faces: int
    reasons: dict[str, int]


def _find_labeled(
    source: Source, truth: Mapping[str, TruthImage], file: Path
) -> tuple[list[str], int]:
    """Ids of the labeled images in SOURCE, and how many of its images have no labels."""
    known, unlabeled = [], 0
    for record in source.records():
        if record.id in truth:
            known.append(record.id)
        else:
            unlabeled += 1
    if not known and not unlabeled:
        raise DataError(explain_no_images(source))
    if not known:
        raise DataError(
            f"none of the {len(truth):,} images in {file} is in SOURCE; "
            "ids are paths relative to SOURCE"
        )
    return known, unlabeled


def _check_decided(images: Sequence[TruthImage], request: _Request) -> None:
    """Refuse labels that a detector alone decided; a detector would be compared with itself."""
    unseen = sum(image.by_detector for image in images)
    if find_digests(request.labels) is not None or not any(image.faces for image in images):
        # An export of detect, or its table without any box: boxes do not say who decided them.
        found = load_provenance(request.labels)
        if found.get("detectors") and not found["given_faces"]["reviews"]:
            unseen = len(images)
    if unseen == len(images):
        raise DataError(
            f"every box in {request.labels} is a detector's, and a person looked at none of the "
            "images; give labels that people made, or correct these first with curate review"
        )
    if unseen:
        request.session.notify(
            f"Warning: of {unseen:,} of {len(images):,} labeled images, {request.labels} has the "
            "boxes of a detector, which nobody looked at; they count as the true faces."
        )


def _join_groups(
    images: Sequence[TruthImage], table: Table
) -> tuple[list[TruthImage], dict[str, int]]:
    """Add a table's columns as attributes to every face; returns how many ids matched, too."""
    groups, joined = load_groups(table), []
    ids = (image.id for image in images)
    matching = match_groups(groups, ids, table, "a labeled image")
    for image in images:
        values = matching.get(image.id, {})
        clash = {name for face in image.faces for name in face.attributes} & set(values)
        if clash:
            raise UsageError(
                f"{table} and the labels both have {sorted(clash)[0]!r}; rename the column"
            )
        faces = (replace(face, attributes={**face.attributes, **values}) for face in image.faces)
        joined.append(replace(image, faces=tuple(faces)))
    return joined, {"lines": len(groups), "matched": len(matching)}


def _detect(request: _Request, recipe: Recipe) -> tuple[Detections, dict[str, Any] | None]:
    """Detections of the recipe's detector, or of the given file, and how they were made."""
    file = request.options.detections
    if file is not None:
        request.session.notify(f"Detections are read from {file}.")
        return load_detections(file), load_faces_info(file) if table.recognize(file) else None
    with TemporaryDirectory(prefix="curate-evaluate-") as folder:
        file = Path(folder) / "faces.parquet"
        try:
            detect(request.source, file, recipe, request.session, quiet=True)
        except PausedError:
            raise PausedError(
                "interrupted; no detections were kept: for a large dataset, run curate detect "
                "and give its table with --detections"
            ) from None
        return load_detections(file), load_faces_info(file)


def _select_images(
    images: Sequence[TruthImage], runs: Sequence[Detections]
) -> tuple[list[TruthImage], _Withheld]:
    """Select the images with detections in every run, at the size of their labels."""
    kept: list[TruthImage] = []
    reasons: Counter[str] = Counter()
    faces = 0
    for image in images:
        reason = next(filter(None, (_exclusion_reason(image, found) for found in runs)), None)
        if reason is None:
            kept.append(image)
        else:
            reasons[reason] += 1
            faces += len(image.faces)
    return kept, _Withheld(reasons.total(), faces, dict(reasons.most_common()))


def _exclusion_reason(image: TruthImage, found: Detections) -> str | None:
    """Return the code of the reason to exclude an image, or None."""
    if image.id not in found.found:
        return found.withheld.get(image.id, "not-looked-at").partition(":")[0]
    size = found.sizes.get(image.id)
    return "other-size" if image.size and size and image.size != size else None


def _sample_images(
    source: Source, images: Iterable[TruthImage], found: Detections
) -> dict[str, Any]:
    """Which images were evaluated; those without a digest in the detections are read."""
    sample = ImageSample()
    for image in images:
        digest = found.digests.get(image.id)
        if digest is None and (record := source.find(image.id)) is not None:
            digest = digest_bytes(source.read(record))
        if digest is not None:
            sample.add_digest(digest)
    return sample.to_dict()


def _match(image: TruthImage, found: Detections, rules: Rules) -> MatchedImage:
    size = found.sizes.get(image.id, image.size)
    return match_image(image, found.found[image.id], rules, size)


def _find_misses(images: Sequence[MatchedImage], rules: Rules) -> list[Miss]:
    misses = [
        Miss(image.id, face.box, face.hidden)
        for image in images
        for face in image.faces
        if face.hidden < rules.hidden_share
    ]
    return sorted(misses, key=lambda miss: (-miss.box.height, miss.id, miss.box))


def _describe(
    request: _Request, counts: Mapping[str, Any], info: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Describe the inputs, without paths, host or time."""
    origin = info or {}
    return {
        "tool": describe_tool(),
        "truth_sha256": _digest(request.labels),
        **describe_table(request.options.groups),
        "detections_sha256": _digest(request.options.detections),
        "recipe": origin.get("recipe"),
        "detectors": origin.get("detectors", []),
        "images": dict(counts),
    }


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    return digest_folder(path) if path.is_dir() else digest_file(path)


MAX_PICTURES = 48

_CONTEXT, _SIDE = 0.6, 136


def picture_misses(source: str | Path, layout: str, misses: Iterable[Miss]) -> tuple[Picture, ...]:
    """Crop the first misses with some of their surroundings.

    Args:
        source: path or URI of the dataset; only read.
        layout: its layout, or ``auto``.
        misses: faces, in order of importance.
    """
    opened = open_source(str(source), layout)
    pictures: list[Picture] = []
    for miss in islice(misses, MAX_PICTURES):
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
