"""Errors of malformed files in one line, without the words of Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from itertools import islice
from typing import Any

import numpy as np
import pytest

from curate.core.errors import DataError, ManifestError, describe_malformed

OTHER = "a value has another type or form than expected"


class Kind(Enum):
    A = "a"


def unpack(values: Any) -> Any:
    first, second = values
    return first, second


def find(values: Any, key: Any) -> Any:
    return values[key]


def get(values: Any) -> Any:
    return values.get("x")


@pytest.mark.parametrize(
    ("fail", "text"),
    [
        (lambda: unpack(None), OTHER),
        (lambda: unpack([1]), OTHER),
        (lambda: unpack([1, 2, 3]), OTHER),
        (lambda: find(5, "a"), OTHER),
        (lambda: find([1], "a"), OTHER),
        (lambda: find([1], 3), OTHER),
        (lambda: find(None, 3), OTHER),
        (lambda: sum([None, 1]), OTHER),
        (lambda: float("x"), OTHER),
        (lambda: np.ones(2) + np.ones(3), OTHER),
        (lambda: next(islice([1], -1)), OTHER),
        (lambda: Kind("z"), OTHER),
        (lambda: int("x"), OTHER),
        (lambda: find({}, []), OTHER),
        (lambda: get(None), OTHER),
        (lambda: b"\xff".decode(), OTHER),
        (lambda: find({}, "bbox"), "it has no key 'bbox'"),
        (lambda: find({}, "a\n\x1b[31m"), "it has no key 'a\\n\\x1b[31m'"),
        (lambda: json.loads("{"), "Expecting property name enclosed in double quotes: line 1"),
        (lambda: open("/absent"), "No such file or directory"),  # noqa: SIM115, PTH123
    ],
)
def test_a_malformed_value_is_described_without_words_of_python(
    fail: Callable[[], Any], text: str
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        fail()
    line = describe_malformed(caught.value)
    assert line.startswith(text)
    assert line.isprintable()


@pytest.mark.parametrize("kind", [DataError, ManifestError, ValueError])
@pytest.mark.parametrize(
    "text",
    [
        "line 3 has an argument too many",
        "the box of face 2 is out of range",
        "an operand of the recipe is missing",
        "'x' is not a valid name",
    ],
)
def test_our_own_messages_are_kept(kind: type[Exception], text: str) -> None:
    assert describe_malformed(kind(text)) == text
