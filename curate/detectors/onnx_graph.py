"""Reads the few parts of an ONNX file that a plain convolutional network uses.

The wire format is that of Protocol Buffers
(https://protobuf.dev/programming-guides/encoding/), the field numbers are those of
``onnx.proto`` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.core.errors import WeightsError

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
        return _parse_graph(_one(path.read_bytes(), 7))
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise WeightsError(f"{path.name} cannot be read as an ONNX network: {error}") from error


def _parse_graph(data: bytes) -> Graph:
    nodes: list[Node] = []
    weights: dict[str, Tensor] = {}
    for number, value in _fields(data):
        if number == 1:
            nodes.append(_parse_node(_bytes(value)))
        elif number == 5:
            named = _parse_tensor(_bytes(value))
            if named is not None:
                weights[named[0]] = named[1]
    return Graph(tuple(nodes), weights)


def _parse_node(data: bytes) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    kind = ""
    integers: dict[str, tuple[int, ...]] = {}
    floats: dict[str, float] = {}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_bytes(value).decode())
        elif number == 2:
            outputs.append(_bytes(value).decode())
        elif number == 4:
            kind = _bytes(value).decode()
        elif number == 5:
            name, whole, fraction = _parse_attribute(_bytes(value))
            integers[name] = whole
            floats[name] = fraction
    return Node(kind, tuple(inputs), outputs[0], integers, floats)


def _parse_attribute(data: bytes) -> tuple[str, tuple[int, ...], float]:
    name = ""
    integers: list[int] = []
    fraction = 0.0
    for number, value in _fields(data):
        if number == 1:
            name = _bytes(value).decode()
        elif number == 2:
            (fraction,) = struct.unpack("<f", _bytes(value))
        elif number in (3, 8):
            integers += _integers(value)
    return name, tuple(integers), fraction


def _parse_tensor(data: bytes) -> tuple[str, Tensor] | None:
    """Name and values, or None for what is not float32: training counters."""
    name = ""
    shape: list[int] = []
    raw = b""
    kind = _FLOAT
    for number, value in _fields(data):
        if number == 1:
            shape += _integers(value)
        elif number == 2:
            (kind,) = _integers(value)
        elif number == 8:
            name = _bytes(value).decode()
        elif number in (4, 9):  # float_data or raw_data: the same bytes
            raw += _bytes(value)
    if kind != _FLOAT:
        return None
    return name, np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(shape)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with their values: an integer for varints, else the bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
        if position + size > len(data):
            raise ValueError("the file ends early")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _integers(value: int | bytes) -> list[int]:
    """A repeated integer field, packed or not."""
    if isinstance(value, int):
        return [value]
    integers = []
    position = 0
    while position < len(value):
        integer, position = _varint(value, position)
        integers.append(integer)
    return integers


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes should")
    return value


def _one(data: bytes, wanted: int) -> bytes:
    for number, value in _fields(data):
        if number == wanted:
            return _bytes(value)
    raise ValueError(f"field {wanted} is missing")
