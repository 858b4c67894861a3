"""Reads the few parts of an ONNX file that a plain convolutional network uses.

The field numbers are those of ``onnx.proto``
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.core.errors import WeightsError
from curate.detectors.onnx_wire import first_field, iter_fields, read_bytes, read_integers

Tensor = npt.NDArray[np.float32]
_FLOAT = 1


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Args:
        kind: the operator's name, such as ``Conv``.
        inputs: names of what it reads, weights included.
        output: name of its first output.
        integers: its integer attributes, single ones as a list of one.
        floats: its float attributes.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    integers: Mapping[str, tuple[int, ...]]
    floats: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Graph:
    """Operations in the order in which they run, and the float32 weights by name."""

    nodes: tuple[Node, ...]
    weights: Mapping[str, Tensor]


def load_graph(path: Path) -> Graph:
    """Read the graph of an ONNX file.

    Raises:
        WeightsError: if the file is not what it should be.
    """
    try:
        return _parse_graph(first_field(path.read_bytes(), 7))
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise WeightsError(f"{path.name} cannot be read as an ONNX network: {error}") from error


def _parse_graph(data: bytes) -> Graph:
    nodes: list[Node] = []
    weights: dict[str, Tensor] = {}
    for number, value in iter_fields(data):
        if number == 1:
            nodes.append(parse_node(read_bytes(value)))
        elif number == 5:
            named = _parse_tensor(read_bytes(value))
            if named is not None:
                weights[named[0]] = named[1]
    return Graph(tuple(nodes), weights)


def parse_node(data: bytes) -> Node:
    """Read one operation."""
    inputs: list[str] = []
    outputs: list[str] = []
    kind = ""
    integers: dict[str, tuple[int, ...]] = {}
    floats: dict[str, float] = {}
    for number, value in iter_fields(data):
        if number == 1:
            inputs.append(read_bytes(value).decode())
        elif number == 2:
            outputs.append(read_bytes(value).decode())
        elif number == 4:
            kind = read_bytes(value).decode()
        elif number == 5:
            name, whole, fraction = _parse_attribute(read_bytes(value))
            integers[name] = whole
            floats[name] = fraction
    return Node(kind, tuple(inputs), outputs[0], integers, floats)


def _parse_attribute(data: bytes) -> tuple[str, tuple[int, ...], float]:
    name = ""
    integers: list[int] = []
    fraction = 0.0
    for number, value in iter_fields(data):
        if number == 1:
            name = read_bytes(value).decode()
        elif number == 2:
            (fraction,) = struct.unpack("<f", read_bytes(value))
        elif number in (3, 8):
            integers += read_integers(value)
    return name, tuple(integers), fraction


def _parse_tensor(data: bytes) -> tuple[str, Tensor] | None:
    """Name and values, or None for what is not float32: training counters."""
    name = ""
    shape: list[int] = []
    raw = b""
    kind = _FLOAT
    for number, value in iter_fields(data):
        if number == 1:
            shape += read_integers(value)
        elif number == 2:
            (kind,) = read_integers(value)
        elif number == 8:
            name = read_bytes(value).decode()
        elif number in (4, 9):  # float_data or raw_data: the same bytes
            raw += read_bytes(value)
    if kind != _FLOAT:
        return None
    return name, np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(shape)
