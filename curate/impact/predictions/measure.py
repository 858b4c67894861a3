"""Everything that is measured of what obfuscation costs a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.arms import Experiment, Hits
from curate.impact.predictions.classes import ClassChange, compare_classes
from curate.impact.predictions.groups import Grouping, by_group
from curate.impact.predictions.metrics import Calibration, RiskCoverage, calibrate, trace_risk
from curate.impact.predictions.paired import Change, McNemar, Power, compare, find_power, mcnemar
from curate.impact.predictions.strata import (
    Faces,
    Slope,
    Stratum,
    by_blurred_share,
    by_faces,
    by_presence,
    fit_slope,
)
from curate.impact.resample import Bootstrap, make_bootstrap


@dataclass(frozen=True, slots=True)
class FaceImpact:
    """What depends on the faces in an image.

    Args:
        by_share: by blurred share.
        slope: of the change over the blurred share, if it varies.
        by_count: by number of faces.
        present: images with faces.
        absent: images without.
    """

    by_share: tuple[Stratum, ...]
    slope: Slope | None
    by_count: tuple[Stratum, ...]
    present: Change
    absent: Change


@dataclass(frozen=True, slots=True)
class Impact:
    """What obfuscation costs; pairs are original and obfuscated.

    Args:
        experiment: what was compared.
        seed: of the bootstrap.
        top1: accuracy of the best class.
        top5: of the five best; None where fewer than five are ranked.
        test: McNemar's exact test of the best class.
        precision: mean average precision over classes with images.
        classes: every class with images.
        faces: what depends on faces; None where they are not known.
        groupings: by each attribute.
        calibration: None where there are no probabilities.
        selective: risk against coverage.
        power: what the sample could have shown.
    """

    experiment: Experiment
    seed: int
    top1: Change
    top5: Change | None
    test: McNemar
    precision: tuple[float, float]
    classes: tuple[ClassChange, ...]
    faces: FaceImpact | None
    groupings: tuple[Grouping, ...]
    calibration: tuple[Calibration, Calibration] | None
    selective: tuple[RiskCoverage, RiskCoverage]
    power: Power


def measure(
    experiment: Experiment,
    faces: Faces | None = None,
    groups: Mapping[str, Sequence[str | None]] | None = None,
    seed: int = 0,
) -> Impact:
    """Measure what obfuscation costs.

    Args:
        experiment: of at least one image.
        faces: in the order of its images, or None where they are not known.
        groups: by attribute, each image's group in the same order.
        seed: of the bootstrap.
    """
    bootstrap = make_bootstrap(len(experiment.models), seed)
    hits = experiment.hits(1)
    before = [model.original for model in experiment.models]
    after = [model.obfuscated for model in experiment.models]
    classes = compare_classes(experiment, bootstrap)
    top5 = compare(experiment.hits(5), bootstrap, "top5") if experiment.depth >= 5 else None
    return Impact(
        experiment=experiment,
        seed=seed,
        top1=compare(hits, bootstrap, "top1"),
        top5=top5,
        test=mcnemar(hits),
        precision=(
            float(np.mean([each.original for each in classes])),
            float(np.mean([each.obfuscated for each in classes])),
        ),
        classes=tuple(classes),
        faces=_by_faces(hits, faces, bootstrap) if faces is not None else None,
        groupings=tuple(
            by_group(hits, name, values, bootstrap) for name, values in (groups or {}).items()
        ),
        calibration=(calibrate(before), calibrate(after)) if experiment.has_probabilities else None,
        selective=(trace_risk(before), trace_risk(after)),
        power=find_power(hits),
    )


def _by_faces(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> FaceImpact:
    return FaceImpact(
        tuple(by_blurred_share(hits, faces, bootstrap)),
        fit_slope(hits, faces, bootstrap),
        tuple(by_faces(hits, faces, bootstrap)),
        *by_presence(hits, faces, bootstrap),
    )
