"""Measure the effect of obfuscation from prediction files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError
from curate.core.records import set_names, set_paths
from curate.impact.class_names import Classes, load_classes
from curate.impact.experiment import Arm, Experiment, Faces, Model
from curate.impact.formatting import describe_run
from curate.impact.pair_index import PairIndex, check_digests, load_faces, open_pair_index
from curate.impact.prediction_files import iter_ids
from curate.impact.predictions.control_arms import compare_arms
from curate.impact.predictions.measure import Impact, measure
from curate.impact.predictions.report import ImpactReport
from curate.impact.predictions.scoring import Loaded, find_classes, load_predictions
from curate.impact.tables import Groups, check_groups, load_groups
from curate.layouts.memory_table import TableLike, describe_table, set_tables
from curate.manifest.store import digest_file, digest_folder
from curate.pipeline.progress import show_steps
from curate.pipeline.session import Step
from curate.report.document import describe_tool

NO_MANIFEST = "Nothing by hidden share or number of faces: no --manifest was given."


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOptions:
    """Options of `measure_impact`.

    Args:
        classes: a file of class names, their number, or the classes; None for one per logit.
        manifest: OUT of the run that obfuscated the dataset, which lists the faces; or None.
        groups: a table of groups by image id, a file or in memory such as a DataFrame, or None.
        by: attributes to group by, or intersections such as ``gender,age``; empty for every
            column with 2 to 12 values.
        allow_missing: leave out images that not all files have, instead of stopping.
        seed: random seed of the bootstrap.

    Raises:
        UsageError: if a value is out of range.
    """

    classes: str | Classes | None = None
    manifest: Path | None = None
    groups: TableLike | None = None
    by: tuple[str, ...] = ()
    allow_missing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        set_names(self, "by")
        set_paths(self, "manifest")
        set_tables(self, "groups")
        if self.seed < 0:
            raise UsageError("--seed must be 0 or more")


_MANY = 1000  # rows from which on reading them is shown

Paths = str | Path | Sequence[str | Path]


@checked
def measure_impact(
    original: Paths,
    obfuscated: Paths,
    options: PredictionOptions | None = None,
    *,
    quiet: bool = False,
) -> ImpactReport:
    """Measure the effect of obfuscation on a classifier from its predictions.

    >>> report = curate.measure_impact("original.npz", "blurred.npz")    # doctest: +SKIP
    >>> report.to_frame()                                                # doctest: +SKIP

    Args:
        original: file of predictions on the original images; several for several models or
            seeds.
        obfuscated: files of predictions on the obfuscated images, in the same order.
        options: classes, manifest, groups and seed.
        quiet: show no progress.

    Raises:
        UsageError: if the options contradict each other.
        DataError: if a file is invalid, or the files are not of the same images.
        SetupError: if temporary files cannot be written.
    """
    before, after = _as_paths(original), _as_paths(obfuscated)
    if len(before) != len(after) or not before:
        raise UsageError(
            f"there are {len(before):,} files for the original and {len(after):,} for the "
            "obfuscated images; give one of each per model"
        )
    pairs = tuple(zip(before, after, strict=True))
    with show_steps(quiet) as watch:
        return measure_files(pairs, options or PredictionOptions(), watch=watch)


def measure_files(
    pairs: Sequence[tuple[Path, Path]],
    options: PredictionOptions,
    arms: Mapping[str, Path] | None = None,
    watch: Callable[[Step], None] = lambda _: None,
) -> ImpactReport:
    """Measure pairs of prediction files, and control arms of the first model.

    Args:
        pairs: files of predictions on original and obfuscated images, one pair per model.
        options: see `measure_impact`.
        arms: files of predictions on control arms, by name.
        watch: called with the progress.
    """
    check_groups(options.groups, options.by)
    joined = _join(pairs, options, arms or {}, watch)
    impact = measure(joined.experiment, joined.faces, joined.groups, options.seed)
    controls = None
    if joined.arms:
        controls = compare_arms(joined.experiment, joined.arms, joined.faces, options.seed)
    facts = {**_describe(pairs, options, joined.run), "unpaired": joined.unpaired}
    notes = _list_notes(impact, options, joined.is_dense)
    return ImpactReport(impact=impact, facts=facts, notes=notes, controls=controls)


def _as_paths(paths: Paths) -> list[Path]:
    return [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]


@dataclass(frozen=True, slots=True)
class _Joined:
    """All that is known about the images that all files have."""

    experiment: Experiment
    arms: Mapping[str, Arm]
    is_dense: bool
    faces: Faces | None
    groups: Groups
    run: Mapping[str, Any] | None
    unpaired: Mapping[str, int]


def _join(
    pairs: Sequence[tuple[Path, Path]],
    options: PredictionOptions,
    arms: Mapping[str, Path],
    watch: Callable[[Step], None],
) -> _Joined:
    given = load_classes(options.classes) if isinstance(options.classes, str) else options.classes
    files = [*(path for pair in pairs for path in pair), *arms.values()]
    with TemporaryDirectory(prefix="curate-impact-") as folder:
        work = Path(folder)
        with open_pair_index(work) as index:
            for path in files:
                index.add_file(path, _watched(iter_ids(path), watch, path))
            run = index.add_manifest(options.manifest) if options.manifest else None
            count = index.join()
            unpaired = _check_pairs(index, files, len(pairs), count, options.allow_missing)
            # Errors that are quick to find are reported before the scores are read.
            faces = load_faces(options.manifest, index, count) if options.manifest else None
            groups = load_groups(options.groups, options.by, index)
            classes = find_classes(files[0], given)
            loaded = []
            for number, path in enumerate(files):
                positions = index.load_positions(number)
                progress = _row_watch(watch, f"reading {path.name}", len(positions))
                loaded.append(load_predictions(path, positions, count, classes, work, progress))
            _check_alike(loaded, files, index)
            if options.manifest is not None:
                paired = loaded[: 2 * len(pairs)]
                for before, after in zip(paired[::2], paired[1::2], strict=True):
                    check_digests(options.manifest, index, before.sha256, after.sha256)
    paired = loaded[: 2 * len(pairs)]
    return _Joined(
        experiment=_make_experiment(paired, classes),
        arms=dict(zip(arms, [each.arm for each in loaded[len(paired) :]], strict=True)),
        is_dense=loaded[0].form.is_dense,
        faces=faces,
        groups=groups,
        run=run,
        unpaired=unpaired,
    )


def _watched(
    batches: Iterator[list[str]], watch: Callable[[Step], None], path: Path
) -> Iterator[list[str]]:
    """Yield the batches of ids of a file, reporting their number."""
    show, rows = _row_watch(watch, f"ids of {path.name}", None), 0
    for batch in batches:
        yield batch
        rows += len(batch)
        show(rows)


def _row_watch(
    watch: Callable[[Step], None], what: str, total: int | None
) -> Callable[[int], None]:
    """Return what reports a number of rows, while there are many."""

    def show(rows: int) -> None:
        if rows >= _MANY:
            watch(Step(what, "rows", rows, total))

    return show


def _make_experiment(loaded: Sequence[Loaded], classes: Classes) -> Experiment:
    pairs = zip(loaded[::2], loaded[1::2], strict=True)
    return Experiment(
        labels=loaded[0].labels,
        classes=classes.names,
        models=tuple(Model(before.arm, after.arm) for before, after in pairs),
        depth=loaded[0].form.depth,
        has_probabilities=all(each.has_probabilities for each in loaded),
    )


def _check_pairs(
    index: PairIndex, files: Sequence[Path], pairs: int, count: int, allow_missing: bool
) -> dict[str, int]:
    """Count images without a pair, and refuse them unless allowed."""
    unpaired = {}
    for number, path in enumerate(files):
        missing, name = index.find_unpaired(number)
        if missing and not allow_missing:
            others = files[1 - number] if len(files) == 2 else "all other files"
            raise DataError(
                f"ids of {path} that are not in {others}: {missing:,}, such as {name!r}; "
                "--allow-missing leaves them out"
            )
        unpaired[number] = missing
    if not count:
        raise DataError(f"{files[0]} and {files[1]} have no id in common")
    return {
        "original": sum(unpaired[number] for number in range(0, 2 * pairs, 2)),
        "obfuscated": sum(unpaired[number] for number in range(1, 2 * pairs, 2)),
        "withheld": index.count_withheld(),
    }


def _check_alike(loaded: Sequence[Loaded], files: Sequence[Path], index: PairIndex) -> None:
    """Check that all files have the same form and labels."""
    first = loaded[0]
    for path, each in zip(files[1:], loaded[1:], strict=True):
        if each.form != first.form:
            raise DataError(
                f"{path} ranks {each.form.depth:,} classes"
                f"{'' if each.form.is_dense else ' in lists'}, {files[0]} "
                f"{first.form.depth:,}{'' if first.form.is_dense else ' in lists'}; "
                "give both in the same form"
            )
        differs = each.labels != first.labels
        if differs.any():
            name = index.name(int(differs.argmax()))
            raise DataError(f"{path} and {files[0]} have different labels for {name!r}")


def _describe(
    pairs: Sequence[tuple[Path, Path]], options: PredictionOptions, run: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What was compared; nothing about the host, the time or paths."""
    return {
        "tool": describe_tool(),
        "predictions": [
            {"original_sha256": _digest(before), "obfuscated_sha256": _digest(after)}
            for before, after in pairs
        ],
        **describe_table(options.groups),
        "manifest": describe_run(run),
    }


def _digest(path: Path) -> str:
    return digest_folder(path) if path.is_dir() else digest_file(path)


def _list_notes(impact: Impact, options: PredictionOptions, is_dense: bool) -> tuple[str, ...]:
    notes = []
    if impact.faces is None:
        notes.append(NO_MANIFEST)
    if not impact.groupings:
        why = "has no column with 2 to 12 values" if options.groups is not None else "was not given"
        notes.append(f"Nothing by group: a table of groups {why}.")
    if impact.top5 is None:
        notes.append(f"No top-5: only {impact.experiment.depth} classes are ranked.")
    if impact.calibration is None:
        notes.append("No calibration: the scores are not probabilities.")
    if not is_dense:
        notes.append("Average precision ranks classes that are not listed last.")
    empty = len(impact.experiment.classes) - len(impact.classes)
    if empty:
        total = len(impact.experiment.classes)
        notes.append(f"{empty:,} of {total:,} classes have no image and are left out.")
    return tuple(notes)
