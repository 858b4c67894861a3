"""Measure what obfuscation costs a classifier, from files of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import curate
from curate.core.errors import DataError, UsageError
from curate.impact.arms import Arm, Experiment, Model
from curate.impact.evaluate.controls import Controls, compare_controls
from curate.impact.pairing import Pairing, open_pairing
from curate.impact.prediction_files import Classes, iter_ids, load_classes
from curate.impact.predictions.measure import Impact, measure
from curate.impact.predictions.report import VERSION, controls_to_dict, to_dict
from curate.impact.predictions.scoring import Loaded, find_classes, load_predictions
from curate.impact.predictions.strata import Faces
from curate.impact.recorded_faces import check_digests, index_manifest, load_faces
from curate.layouts.groups import load_groups
from curate.manifest.store import digest_file, digest_folder

MOST_GROUPS = 12
"""Attributes with more values than this are passed over unless they are asked for."""

NO_MANIFEST = "Nothing by blurred share or number of faces: no --manifest was given."

Groups = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What is compared.

    Args:
        pairs: files of predictions on the original and on the obfuscated dataset, one
            pair for every model or seed.
        classes: a file with the classes' names, or their number, or the classes themselves;
            None for logits by number.
        manifest: the obfuscated dataset's OUT, which says where faces are, or None.
        groups: a table of groups by image, or None.
        by: attributes of that table to group by; by default those of few values.
        allow_missing: whether images that not all files have are left out.
        seed: of the bootstrap.
        controls: predictions of the same model on control arms of the same images, by arm.
    """

    pairs: tuple[tuple[Path, Path], ...]
    classes: str | Classes | None = None
    manifest: Path | None = None
    groups: Path | None = None
    by: tuple[str, ...] = ()
    allow_missing: bool = False
    seed: int = 0
    controls: Mapping[str, Path] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """All files of predictions: original and obfuscated in turn, then the control arms."""
        return [*(path for pair in self.pairs for path in pair), *self.controls.values()]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured.

    Args:
        impact: the figures.
        facts: what was compared, for the report.
        notes: what could not be measured, and why, a line each.
        controls: the control arms; None where none was run.
    """

    impact: Impact
    facts: Mapping[str, Any]
    notes: tuple[str, ...]
    controls: Controls | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {
            "version": VERSION,
            **self.facts,
            **to_dict(self.impact),
            **({"arms": controls_to_dict(self.controls)} if self.controls else {}),
            "notes": list(self.notes),
        }


def measure_predictions(asked: Predictions) -> Answer:
    """Measure what obfuscation costs.

    Raises:
        UsageError: if the request contradicts itself.
        DataError: if a file cannot be used, or the files are not of the same images.
        SetupError: if there is no room for the work.
    """
    if asked.by and asked.groups is None:
        raise UsageError("--by needs the table of groups: name it with --groups")
    joined = _join(asked)
    impact = measure(joined.experiment, joined.faces, joined.groups, asked.seed)
    notes = _note(impact, asked, joined.is_dense)
    controls = None
    if joined.controls:
        controls = compare_controls(joined.experiment, joined.controls, joined.faces, asked.seed)
    facts = {**_describe(asked, joined.run), "unpaired": joined.unpaired}
    return Answer(impact, facts, notes, controls)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Everything that is known of the images that all files have."""

    experiment: Experiment
    controls: Mapping[str, Arm]
    is_dense: bool
    faces: Faces | None
    groups: Groups
    run: Mapping[str, Any] | None
    unpaired: Mapping[str, int]


def _join(asked: Predictions) -> _Joined:
    given = load_classes(asked.classes) if isinstance(asked.classes, str) else asked.classes
    with TemporaryDirectory(prefix="curate-impact-") as folder:
        work = Path(folder)
        with open_pairing(work) as pairing:
            for path in asked.files:
                pairing.add_file(path, iter_ids(path))
            run = index_manifest(asked.manifest, pairing) if asked.manifest else None
            count = pairing.join()
            unpaired = _check_pairs(pairing, asked, count)
            # What is quick to find wrong is said before the scores are read.
            faces = load_faces(asked.manifest, pairing, count) if asked.manifest else None
            groups = _load_groups(asked.groups, asked.by, pairing) if asked.groups else {}
            classes = find_classes(asked.files[0], given)
            loaded = [
                load_predictions(path, pairing.places(number), count, classes, work)
                for number, path in enumerate(asked.files)
            ]
            _check_alike(loaded, asked, pairing)
    paired = loaded[: 2 * len(asked.pairs)]
    arms = [each.arm for each in loaded[len(paired) :]]
    return _Joined(
        experiment=_experiment(paired, classes),
        controls=dict(zip(asked.controls, arms, strict=True)),
        is_dense=loaded[0].form.is_dense,
        faces=faces,
        groups=groups,
        run=run,
        unpaired=unpaired,
    )


def _experiment(loaded: Sequence[Loaded], classes: Classes) -> Experiment:
    pairs = zip(loaded[::2], loaded[1::2], strict=True)
    return Experiment(
        labels=loaded[0].labels,
        classes=classes.names,
        models=tuple(Model(before.arm, after.arm) for before, after in pairs),
        depth=loaded[0].form.depth,
        has_probabilities=all(each.has_probabilities for each in loaded),
    )


def _check_pairs(pairing: Pairing, asked: Predictions, count: int) -> dict[str, int]:
    """Count what has no pair, and refuse it unless that is allowed."""
    lone = {}
    for number, path in enumerate(asked.files):
        missing, name = pairing.find_lone(number)
        if missing and not asked.allow_missing:
            others = asked.files[1 - number] if len(asked.files) == 2 else "all other files"
            raise DataError(
                f"ids of {path} that are not of {others}: {missing:,}, such as {name!r}; "
                "--allow-missing leaves them out"
            )
        lone[number] = missing
    if not count:
        raise DataError(f"{asked.files[0]} and {asked.files[1]} have no id in common")
    paired = 2 * len(asked.pairs)
    return {
        "original": sum(lone[number] for number in range(0, paired, 2)),
        "obfuscated": sum(lone[number] for number in range(1, paired, 2)),
        "withheld": pairing.count_withheld(),
    }


def _check_alike(loaded: Sequence[Loaded], asked: Predictions, pairing: Pairing) -> None:
    first = loaded[0]
    for path, each in zip(asked.files[1:], loaded[1:], strict=True):
        if each.form != first.form:
            raise DataError(
                f"{path} ranks {each.form.depth:,} classes"
                f"{'' if each.form.is_dense else ' in lists'}, {asked.files[0]} "
                f"{first.form.depth:,}{'' if first.form.is_dense else ' in lists'}; "
                "give both in the same form"
            )
        differs = each.labels != first.labels
        if differs.any():
            name = pairing.name(int(differs.argmax()))
            raise DataError(f"{path} labels {name!r} otherwise than {asked.files[0]}")
    if asked.manifest is not None:
        paired = loaded[: 2 * len(asked.pairs)]
        for before, after in zip(paired[::2], paired[1::2], strict=True):
            check_digests(asked.manifest, pairing, before.sha256, after.sha256)


def _load_groups(path: Path, by: Sequence[str], pairing: Pairing) -> Groups:
    table = load_groups(path)
    rows = [table.get(name, {}) for name in pairing.iter_ids()]
    if not any(rows):
        raise DataError(f"{path} knows none of the images")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in by:
        if name not in names:
            raise UsageError(f"{path} has no {name!r}; it has: {', '.join(names)}")
    columns = {name: [row.get(name) for row in rows] for name in by or names}
    if by:
        return columns
    return {
        name: values
        for name, values in columns.items()
        if 2 <= len({value for value in values if value is not None}) <= MOST_GROUPS
    }


def _describe(asked: Predictions, run: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was compared; nothing about the host, the time or paths."""
    return {
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "predictions": [
            {"original_sha256": _digest(before), "obfuscated_sha256": _digest(after)}
            for before, after in asked.pairs
        ],
        "groups_sha256": digest_file(asked.groups) if asked.groups else None,
        "manifest": run
        and {
            "records_sha256": run["records"]["sha256"],
            "recipe_sha256": run["recipe_sha256"],
            "obfuscator": run["obfuscator"]["name"],
        },
    }


def _digest(path: Path) -> str:
    return digest_folder(path) if path.is_dir() else digest_file(path)


def _note(impact: Impact, asked: Predictions, is_dense: bool) -> tuple[str, ...]:
    notes = []
    if impact.faces is None:
        notes.append(NO_MANIFEST)
    if not impact.groupings:
        why = "has no column of 2 to 12 values" if asked.groups else "was not given"
        notes.append(f"Nothing by group: a table of groups {why}.")
    if impact.top5 is None:
        notes.append(f"No top-5: only {impact.experiment.depth} classes are ranked.")
    if impact.calibration is None:
        notes.append("No calibration: the scores are no probabilities.")
    if not is_dense:
        notes.append("Average precision takes classes that are not listed as ranked last.")
    empty = len(impact.experiment.classes) - len(impact.classes)
    if empty:
        total = len(impact.experiment.classes)
        notes.append(f"{empty:,} of {total:,} classes have no image and are left out.")
    return tuple(notes)
