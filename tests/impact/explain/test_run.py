from __future__ import annotations

import html
import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from curate.core.errors import CurateError, DataError, MissingExtraError, UsageError
from curate.impact.explain.attribution import METHODS, MethodOptions
from curate.impact.explain.options import ExplainOptions, Selection
from curate.impact.explain.report import ExplainReport
from curate.impact.explain.run import explain_impact
from curate.manifest.store import iter_entries
from tests.conftest import ROOT
from tests.impact.explain.attribution.networks import Gated
from tests.impact.explain.explained import ELSEWHERE, Colors, make_dataset, obfuscate
from tests.report import checks
from tests.report.checks import check_page

FEW = MethodOptions(lime_samples=100, shap_samples=80)
QUICK = ("gradcam", "lrp")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("explain")
    make_dataset(folder / "photos")
    obfuscate(folder / "photos", folder / "out")
    return str(folder / "photos"), folder / "out"


def check_schema(report: ExplainReport) -> dict[str, Any]:
    return checks.check_schema(report, "explain-1")


def by_method(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in rows}


def test_model_that_uses_faces_has_a_high_share(data: tuple[str, Path]) -> None:
    answer = explain_impact(*data, Colors(), ExplainOptions(method_options=FEW, sheet=True))
    report = check_schema(answer)
    assert report["counts"] == {
        "withheld": 0,
        "without_faces": 3,
        "with_faces": 8,
        "compared": 8,
        "changed": 4,
        "explained": 4,
        "face_outside_input": 0,
        "listed_left_out": 0,
    }
    # The bluest face changed most; what is left after blurring is red.
    assert [each["id"] for each in report["images"]] == [
        "ape/07.png",
        "bat/06.png",
        "ape/05.png",
        "bat/04.png",
    ]
    assert {each["original"]["category"] for each in report["images"]} == {"blue"}
    assert {each["obfuscated"]["category"] for each in report["images"]} == {"red"}
    for name, found in by_method(report["overall"]).items():
        assert found["original"]["share"]["value"] > (0.8 if name == "lime" else 0.95)
        assert found["original"]["ratio"]["value"] > 3
        assert found["original"]["elsewhere_ratio"]["value"] < 0.3
    assert {row["category"]: row["methods"][0]["n"] for row in report["per_class"]} == {
        "ape": 2,
        "bat": 2,
    }
    assert next(each["methods"] for each in report["agreement"]) == ["gradcam", "lrp"]
    assert [each["method"] for each in report["randomised"]] == ["gradcam", "lrp"]
    assert len(answer.sheets) == 4
    assert answer.to_frame().loc[("ape", "gradcam"), "n"] == 2
    assert repr(answer) == "<ExplainReport: 4 images, gradcam, lrp, lime, shap>"
    assert [len(sheet.pictures) for sheet in answer.sheets] == [5] * 4


def test_model_that_uses_other_regions_has_a_low_share(data: tuple[str, Path]) -> None:
    question = ExplainOptions(method_options=FEW, selection=Selection(sample=6, seed=3))
    report = check_schema(explain_impact(*data, Colors(ELSEWHERE), question))
    assert report["counts"]["compared"] is report["counts"]["changed"] is None
    assert report["counts"]["explained"] == 6
    for found in by_method(report["overall"]).values():
        assert found["original"]["share"]["value"] < 0.1
        assert found["obfuscated"]["share"]["value"] < 0.1
        low, high = found["difference"]["ci95"] or (0, 0)
        assert low <= 0.02
        assert high >= -0.02


def test_reports_are_deterministic_for_a_seed(
    data: tuple[str, Path],
) -> None:
    def ask(seed: int) -> tuple[str, str]:
        question = ExplainOptions(
            methods=("lime",),
            method_options=FEW,
            selection=Selection(sample=2, seed=seed),
            sheet=True,
        )
        answer = explain_impact(*data, Colors(), question)
        return json.dumps(answer.to_dict()), answer.to_html()

    assert ask(1) == ask(1)
    assert ask(1)[0] != ask(2)[0]


def test_listed_ids_keep_their_order(data: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("bat/02.png\n\nape/01.png\nbat/08.png\n")
    question = ExplainOptions(methods=QUICK, selection=Selection(ids=tmp_path / "ids.txt"))
    report = check_schema(explain_impact(*data, Colors(), question))
    assert [each["id"] for each in report["images"]] == ["bat/02.png", "ape/01.png"]
    assert report["counts"]["listed_left_out"] == 1
    assert report["choice"]["max_images"] is None


def test_max_images_limits_the_selection(data: tuple[str, Path]) -> None:
    question = ExplainOptions(methods=QUICK, selection=Selection(max_images=2))
    report = check_schema(explain_impact(*data, Colors(), question))
    assert [each["id"] for each in report["images"]] == ["ape/07.png", "bat/06.png"]
    assert report["counts"]["changed"] == 4
    assert report["overall"][0]["original"]["share"]["ci95"] is None


def test_target_class_of_the_obfuscated_image(data: tuple[str, Path]) -> None:
    own, same = (
        explain_impact(*data, Colors(), ExplainOptions(methods=("lrp",), target=target))
        for target in ("predicted", "original")
    )
    assert check_schema(same)["choice"]["target"] == "original"
    for mine, other in zip(own.explanation.images, same.explanation.images, strict=True):
        before, after = zip(mine.measured["lrp"].cells, other.measured["lrp"].cells, strict=True)
        assert (before[0] == before[1]).all()
        assert after[0].sum() > 2 * after[1].sum() > 0  # of red there is more than of blue


class Other(Colors):
    """The same answers, from a network in which LRP finds no rule."""

    def network(self) -> nn.Module:
        return Gated().eval()


class Blind(Colors):
    """Is shown the lower right corner only, where there is no face."""

    def prepare(self, image: Any) -> Any:
        return super().prepare(image)[:, 20:, 20:]

    def predict(self, batch: Any) -> Any:
        return np.ascontiguousarray(batch[:, :, 0, 0])


def test_unsupported_method_is_reported_and_others_run(
    data: tuple[str, Path],
) -> None:
    question = ExplainOptions(methods=("lrp", "gradcam"), selection=Selection(max_images=1))
    answer = explain_impact(*data, Other(), question)
    report = check_schema(answer)
    lrp, gradcam = report["methods"]
    assert "the operation 'sigmoid' has no rule" in lrp["unavailable"]
    assert gradcam["unavailable"] is None
    assert gradcam["parameters"] == {"layer": "first", "kind": "Conv2d"}
    assert [row["method"] for row in report["overall"]] == ["gradcam"]
    assert lrp["unavailable"] in html.unescape(answer.to_html())
    with pytest.raises(UsageError, match="no method works with this model"):
        explain_impact(*data, Other(), ExplainOptions(methods=("lrp",)))


def test_faces_outside_the_input_are_counted(data: tuple[str, Path]) -> None:
    question = ExplainOptions(methods=("lime",), method_options=FEW, selection=Selection(sample=8))
    answer = explain_impact(*data, Blind(), question)
    report = check_schema(answer)
    assert report["counts"]["face_outside_input"] == 8
    assert report["counts"]["explained"] == 0
    assert report["overall"][0]["n"] == 0
    page = answer.to_html()
    check_page(page)
    assert "8 whose faces cover no pixel of the model's input" in html.unescape(page)
    assert "No image was explained" in page


def copy_out(data: tuple[str, Path], tmp_path: Path) -> tuple[str, Path]:
    return (
        str(shutil.copytree(data[0], tmp_path / "photos")),
        Path(shutil.copytree(data[1], tmp_path / "out")),
    )


def test_files_that_differ_from_the_manifest_are_refused(
    data: tuple[str, Path], tmp_path: Path
) -> None:
    photos, out = copy_out(data, tmp_path)
    question = ExplainOptions(methods=QUICK)
    entry = next(e for e in iter_entries(out / "manifest/records") if e.hidden)

    def refuse(said: str, error: type[CurateError]) -> None:
        with pytest.raises(error, match=said) as caught:
            explain_impact(photos, out, Colors(), question)
        assert "\n" not in str(caught.value)

    output = out / "data" / str(entry.output_path)
    kept = output.read_bytes()
    output.write_bytes(kept + b" ")
    refuse("another dataset: the obfuscated file of .* has another SHA-256", DataError)
    output.unlink()
    refuse("cannot read the obfuscated .*No such file", DataError)
    output.write_bytes(kept)
    original = Path(photos) / entry.source_path
    original.write_bytes(kept)
    refuse("another dataset: the original file of .* has another SHA-256", DataError)
    original.unlink()
    refuse("but not in ORIGINAL", DataError)
    shutil.rmtree(out / "data")
    refuse("must be the OUT of curate blur", DataError)
    shutil.rmtree(out / "manifest")
    refuse("has no manifest|no image", DataError)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": ()}, "name methods, each once"),
        ({"methods": ("lrp", "lrp")}, "name methods, each once"),
        ({"methods": ("lpr",)}, "unknown method 'lpr'"),
        ({"target": "label"}, "unknown target"),
        ({"method_options": MethodOptions(lime_samples=3)}, "must be 10 or more"),
    ],
)
def test_invalid_options_are_refused(change: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ExplainOptions(**change)


def test_invalid_selections_are_refused(data: tuple[str, Path], tmp_path: Path) -> None:
    for bad in ({"max_images": 0}, {"sample": 0}, {"sample": 2, "ids": Path("x")}):
        with pytest.raises(UsageError):
            Selection(**bad)  # type: ignore[arg-type]
    listed = tmp_path / "ids.txt"
    for text, said in (("", "lists no id"), ("bat/99.png\n", "which the manifest does not have")):
        listed.write_text(text)
        with pytest.raises(DataError, match=said):
            explain_impact(*data, Colors(), ExplainOptions(selection=Selection(ids=listed)))
    with pytest.raises(DataError, match=r"cannot read .*: it is not a regular file"):
        explain_impact(*data, Colors(), ExplainOptions(selection=Selection(ids=tmp_path)))


def test_unsuitable_layer_option_names_suitable_ones(
    data: tuple[str, Path],
) -> None:
    for layer, said in (("nothing", "ones are: colors, activation"), ("head", "returns 1×3")):
        question = ExplainOptions(methods=QUICK, method_options=MethodOptions(layer=layer))
        with pytest.raises(UsageError, match=said):
            explain_impact(*data, Colors(), question)
    question = ExplainOptions(methods=("gradcam",), method_options=MethodOptions(layer="colors"))
    report = check_schema(explain_impact(*data, Colors(), question))
    assert report["methods"][0]["parameters"]["layer"] == "colors"


def test_non_finite_scores_are_refused(data: tuple[str, Path]) -> None:
    class Broken(Colors):
        def predict(self, batch: Any) -> Any:
            return super().predict(batch) * np.nan

    with pytest.raises(DataError, match="not finite numbers"):
        explain_impact(*data, Broken(), ExplainOptions())


def test_every_method_is_part_of_the_schema() -> None:
    schema = json.loads((ROOT / "manifests/explain-1.schema.json").read_text())
    assert schema["$defs"]["method"]["enum"] == list(METHODS)


def test_page_shows_originals_only_on_request(
    data: tuple[str, Path],
) -> None:
    hidden, shown = (
        explain_impact(
            *data, Colors(), ExplainOptions(methods=QUICK, sheet=True, show_originals=show)
        ).to_html()
        for show in (False, True)
    )
    assert "contains visible faces" not in hidden
    assert "that the page shows no pixel that the dataset hides" in hidden
    assert "contains visible faces" in shown
    assert hidden.count("<img ") == shown.count("<img ") == 4 * 3


def test_missing_package_names_the_pip_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "captum" else find(name)
    )
    for name in METHODS:
        with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[explain\]'"):
            ExplainOptions(methods=(name,))
