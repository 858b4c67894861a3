"""Reads and writes the wire format of Protocol Buffers, which ONNX files are in.

See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator


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
        raise ValueError("a number stands where bytes should")
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
