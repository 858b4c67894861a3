from __future__ import annotations

from collections.abc import Callable

import pytest

from curate.core.errors import WeightsError
from curate.detectors.centerface import WEIGHTS
from curate.detectors.onnx_graph import extract, read_graph
from curate.detectors.weights import find_weights


@pytest.fixture
def whole() -> bytes:
    return find_weights(WEIGHTS).read()


def test_a_subgraph_has_what_its_outputs_need_and_no_more(whole: bytes) -> None:
    part = read_graph(extract(whole, "net", ["371"], ["377", "374"]), "part")
    full = read_graph(whole, "net")
    assert [node.output for node in part.nodes] == ["373", "374", "376", "377"]
    assert all(node in full.nodes for node in part.nodes)
    needed = {name for node in part.nodes for name in node.inputs} & set(full.weights)
    assert set(part.weights) == needed
    assert all((part.weights[name] == full.weights[name]).all() for name in needed)


@pytest.mark.parametrize(("inputs", "outputs"), [(["input.1"], ["no"]), (["387"], ["374"])])
def test_a_map_that_cannot_be_computed_is_an_error(
    whole: bytes, inputs: list[str], outputs: list[str]
) -> None:
    with pytest.raises(WeightsError, match=r"centerface\.onnx is not a valid.*no map"):
        extract(whole, "centerface.onnx", inputs, outputs)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:1000][::-1]],
)
def test_a_damaged_file_is_an_error(whole: bytes, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        extract(damage(whole), "net.onnx", ["input.1"], ["537"])
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        read_graph(damage(whole), "net.onnx")
