from __future__ import annotations

import io
import json

import pytest

from curate.core.errors import DataError
from curate.layouts.annotations import (
    add_to_split,
    iter_items,
    iter_lines,
    load_kinds,
    resolve,
    shorten,
)
from curate.storage.index import NameIndex


@pytest.mark.parametrize(
    ("base", "value", "path"),
    [
        ("", "a.jpg", "a.jpg"),
        ("train", "./x//a.jpg", "train/x/a.jpg"),
        ("a/b", "..a/b...jpg", "a/b/..a/b...jpg"),
        ("", "c:d.jpg", "c:d.jpg"),
    ],
)
def test_a_path_counts_from_its_base(base: str, value: str, path: str) -> None:
    assert resolve(base, value, "x") == path


@pytest.mark.parametrize(
    "value",
    [
        *("../a", "a/../../b", "a/..", "..", "a\\..\\b", "/a", "\\a", "C:\\a", "C:/a"),
        *("file:///a", "http://a/b.jpg", "", "  ", "a\0b", "\ud800", None, 7, [], {}),
    ],
)
def test_an_invalid_or_outside_path_is_named(value: object) -> None:
    with pytest.raises(DataError, match=r"^here is ") as caught:
        resolve("train", value, "here")
    str(caught.value).encode()


def test_lines_have_numbers_and_no_byte_order_mark() -> None:
    file = io.BytesIO("\ufeffä\r\n\nlast".encode())
    lines = list(iter_lines(file, "f.txt"))
    assert lines == [("f.txt, line 1", "ä"), ("f.txt, line 2", ""), ("f.txt, line 3", "last")]


def test_a_line_without_end_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.layouts.annotations._MAX_LINE", 1 << 20)
    with pytest.raises(DataError, match=r"f, line 2 is longer than 1 MB"):
        list(iter_lines(io.BytesIO(b"a\n" + b"x" * (2 << 20)), "f"))


def test_a_long_value_is_cut() -> None:
    assert len(shorten("x" * 1000)) == 80
    assert shorten("\x1b[2J") == r"'\x1b[2J'"


def test_only_a_value_is_limited_and_not_what_is_around_it() -> None:
    items = b",".join([b'{"a": [1, 2]}'] * 20_000)
    file = b'{"x": [' + items + b'], "y": [{"b": 1}], "z": [' + items + b"]}"
    assert list(iter_items(io.BytesIO(file), "y.item", "f", 1000)) == [{"b": 1}]
    assert len(list(iter_items(io.BytesIO(b"[" + items + b"]"), "item", "f", 1000))) == 20_000
    long = b'{"y": [{"b": 1}, {"b": [' + b"1," * 100_000 + b"1]}]}"
    with pytest.raises(DataError, match="f has a value longer than"):
        list(iter_items(io.BytesIO(long), "y.item", "f", 1000))


def test_a_name_is_of_the_first_list_and_duplicated_within_one() -> None:
    names = NameIndex()
    added = [("train", "a"), ("val", "a"), ("val", "a"), ("train", "a"), ("val", "b"), ("val", "b")]
    assert [add_to_split(names, *each) for each in added] == [True, True, False, False, True, False]
    assert [names.get("split", name) for name in "abc"] == ["train", "val", None]


def test_the_kinds_of_a_document_are_of_its_own_keys() -> None:
    inner = '{"images": {"x": [{"deep": 1}]}, "n": -0.5, "a": [[]], "t": "{", "images": null}'
    kinds = {"images": "null", "n": "number", "a": "start_array", "t": "string"}
    assert load_kinds(io.BytesIO(inner.encode()), "f") == kinds
    assert load_kinds(io.BytesIO(f"[{inner}]".encode()), "f") == {}


def test_brackets_and_words_are_followed_across_quotes_and_blocks() -> None:
    """More than 255 quotes in a block, texts that span blocks, and words that are not JSON."""
    texts = [f'[{{"}}" {"NaN"}' * 300, "Infinity" * 9000, '\\"]NaN' * 400]
    value = [*texts, *(["]"] * 400)]
    data = json.dumps([{"t": value, "n": 1}] * 3).replace('"n": 1', '"n": NaN').encode()
    assert list(iter_items(io.BytesIO(data), "item", "f")) == [{"t": value, "n": None}] * 3
