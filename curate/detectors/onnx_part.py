"""Cuts a part out of an ONNX network, so that only what is asked for is computed.

The field numbers are those of ``onnx.proto``
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from curate.core.errors import WeightsError
from curate.detectors.onnx_graph import parse_node
from curate.detectors.onnx_wire import field, first_field, iter_fields, read_bytes

_GRAPH = 7
_NODE, _NAME, _WEIGHTS, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
_FLOAT = 1


def cut_part(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The part of a network between some of its maps, as an ONNX file of its own.

    Args:
        path: the whole network.
        inputs: names of the maps that the part is given, N×C×h×w float32.
        outputs: names of the maps that it makes.

    Raises:
        WeightsError: if the file is not what it should be, or lacks such a map.
    """
    try:
        whole = path.read_bytes()
        graph = _part(first_field(whole, _GRAPH), inputs, outputs)
        return b"".join(
            field(number, graph if number == _GRAPH else value)
            for number, value in iter_fields(whole)
        )
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise WeightsError(f"{path.name} cannot be read as an ONNX network: {error}") from error


def _part(graph: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    fields = [(number, read_bytes(value)) for number, value in iter_fields(graph)]
    wanted, nodes = set(outputs), list[bytes]()
    for value in reversed([value for number, value in fields if number == _NODE]):
        node = parse_node(value)
        if node.output in wanted - set(inputs):
            nodes.append(value)
            wanted.remove(node.output)
            wanted.update(node.inputs)
    weights = {_name(value): value for number, value in fields if number == _WEIGHTS}
    if missing := sorted(wanted - set(weights) - set(inputs)):
        raise ValueError(f"it has no map {missing[0]!r}")
    return b"".join(
        [
            *(field(_NODE, node) for node in reversed(nodes)),
            *(field(_NAME, value) for number, value in fields if number == _NAME),
            *(field(_WEIGHTS, weights[name]) for name in sorted(wanted & set(weights))),
            *(field(_INPUT, _described(name)) for name in inputs),
            *(field(_OUTPUT, _described(name)) for name in outputs),
        ]
    )


def _name(tensor: bytes) -> str:
    return first_field(tensor, 8).decode()


def _described(name: str) -> bytes:
    """A map of any size, which OpenCV wants to be said of inputs and outputs."""
    shape = b"".join(field(1, field(2, axis.encode())) for axis in "nchw")
    kind = field(1, _FLOAT) + field(2, shape)
    return field(1, name.encode()) + field(2, field(1, kind))
