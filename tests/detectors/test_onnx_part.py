from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import WeightsError
from curate.detectors.centerface import WEIGHTS
from curate.detectors.onnx_graph import load_graph
from curate.detectors.onnx_part import cut_part
from curate.detectors.weights import find_weights


@pytest.fixture
def whole() -> Path:
    return find_weights(WEIGHTS).paths["centerface.onnx"]


def test_a_part_has_what_its_outputs_need_and_no_more(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "part.onnx"
    path.write_bytes(cut_part(whole, ["371"], ["377", "374"]))
    part, full = load_graph(path), load_graph(whole)
    assert [node.output for node in part.nodes] == ["373", "374", "376", "377"]
    assert all(node in full.nodes for node in part.nodes)
    needed = {name for node in part.nodes for name in node.inputs} & set(full.weights)
    assert set(part.weights) == needed
    assert all((part.weights[name] == full.weights[name]).all() for name in needed)


@pytest.mark.parametrize(("inputs", "outputs"), [(["input.1"], ["no"]), (["387"], ["374"])])
def test_a_map_that_cannot_be_made_is_an_error(
    whole: Path, inputs: list[str], outputs: list[str]
) -> None:
    with pytest.raises(WeightsError, match=r"centerface\.onnx cannot be read.*no map"):
        cut_part(whole, inputs, outputs)


@pytest.mark.parametrize("damage", [lambda data: data[:5000], lambda data: b"", lambda data: b"x"])
def test_a_damaged_file_is_an_error(whole: Path, tmp_path: Path, damage: object) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(damage(whole.read_bytes()))  # type: ignore[operator]
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        cut_part(path, ["input.1"], ["537"])
