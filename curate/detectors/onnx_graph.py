"""ONNX files: reading the graph, and extracting a subgraph as a file of its own.

Only the few fields that a plain convolutional network uses are read. Field numbers are
those of ``onnx.proto`` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), the wire
format is that of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import WeightsError

Tensor = npt.NDArray[np.float32]
_GRAPH = 7
_NODE, _NAME, _WEIGHTS, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
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


def read_graph(data: bytes, name: str) -> Graph:
    """Read the graph of an ONNX file.

    Args:
        data: the file's bytes.
        name: its name, for messages.

    Raises:
        WeightsError: if it is not a valid ONNX file.
    """
    try:
        return _parse_graph(first_field(data, _GRAPH))
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise WeightsError(f"{name} is not a valid ONNX file: {error}") from error


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
    """Name and values, or None where they are not float32, as of training counters."""
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


def extract(data: bytes, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Extract the subgraph between some maps, as an ONNX file of its own.

    Its inputs and outputs have free sizes, and its weights are constants, which lets a
    runtime fold batch normalizations.

    Args:
        data: bytes of the whole network's file.
        name: its name, for messages.
        inputs: names of the maps that the subgraph reads, N×C×H×W float32.
        outputs: names of the maps that it computes.

    Raises:
        WeightsError: if the file is not valid, or lacks such a map.
    """
    try:
        graph = _subgraph(first_field(data, _GRAPH), inputs, outputs)
        return b"".join(
            field(number, graph if number == _GRAPH else value)
            for number, value in iter_fields(data)
        )
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise WeightsError(f"{name} is not a valid ONNX file: {error}") from error


def _subgraph(graph: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
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
        raise ValueError(f"there is no map {missing[0]!r}")
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
    """The type of an input or output: four free dimensions, float32."""
    shape = b"".join(field(1, field(2, axis.encode())) for axis in "nchw")
    kind = field(1, _FLOAT) + field(2, shape)
    return field(1, name.encode()) + field(2, field(1, kind))


def iter_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
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


def read_integers(value: int | bytes) -> list[int]:
    """A repeated integer field, packed or not."""
    if isinstance(value, int):
        return [value]
    integers = []
    position = 0
    while position < len(value):
        integer, position = _varint(value, position)
        integers.append(integer)
    return integers


def read_bytes(value: int | bytes) -> bytes:
    """A field that holds bytes.

    Raises:
        ValueError: if it holds a number.
    """
    if isinstance(value, int):
        raise ValueError("an integer where bytes are expected")
    return value


def first_field(data: bytes, wanted: int) -> bytes:
    """The bytes of the first field of a number.

    Raises:
        ValueError: if there is none.
    """
    for number, value in iter_fields(data):
        if number == wanted:
            return read_bytes(value)
    raise ValueError(f"field {wanted} is missing")


def field(number: int, value: int | bytes) -> bytes:
    """One field, written: a varint for an integer, else bytes with their length."""
    if isinstance(value, int):
        return _written(number << 3) + _written(value)
    return _written(number << 3 | 2) + _written(len(value)) + value


def _written(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
