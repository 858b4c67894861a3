"""The names that are published are those of the registries."""

from __future__ import annotations

from pathlib import PurePosixPath

from curate.core import known
from curate.detectors import DETECTORS, make_detector
from curate.detectors.centerface import WEIGHTS as CENTERFACE
from curate.detectors.mtcnn_networks import WEIGHTS as MTCNN
from curate.detectors.options import FAMILIES
from curate.detectors.profiles import PROFILES
from curate.detectors.retinaface import WEIGHTS as RETINAFACE


def test_known_names_are_those_of_the_registries() -> None:
    assert {*DETECTORS, "verifier"} == known.DETECTORS
    assert {*FAMILIES} == known.FAMILIES
    assert {*PROFILES} == known.PROFILES
    specs = (CENTERFACE, MTCNN, RETINAFACE)
    assert {spec.distribution for spec in specs} <= known.PACKAGES
    assert {PurePosixPath(path).name for spec in specs for path in spec.sha256} <= known.WEIGHTS


def test_the_models_of_the_default_detector_are_known() -> None:
    models = [
        {
            "name": each.name,
            "package": each.package,
            "version": each.version,
            "weights_sha256": dict(each.weights_sha256),
            "backend": each.backend,
        }
        for each in make_detector().models()
    ]
    assert known.select_known_models(models) == models
