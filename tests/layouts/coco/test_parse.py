from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.layouts.coco import parse
from curate.layouts.coco.parse import is_coco, iter_pieces

texts = st.text(st.sampled_from('a"\\[]{},: é\n'), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
documents = st.fixed_dictionaries(
    {}, optional={"images": st.lists(values, max_size=4), "info": values, 'a"]': values}
)


def cut(data: bytes) -> tuple[bytes, list[Any]]:
    """The document put together again, and its images."""
    parts, items = [], []
    for piece in iter_pieces(io.BytesIO(data), ["images"], "a.json"):
        if piece.key:
            assert piece.number == len(items)
            items.append(json.loads(piece.data))
            parts.append(b"," if piece.number else b"")
        parts.append(piece.data)
    return b"".join(parts), items


@given(documents, st.sampled_from([None, 1, "\t"]), st.booleans(), st.integers(1, 9))
def test_pieces_are_the_document_wherever_it_is_cut(
    document: dict[str, Any], indent: Any, is_ascii: bool, block: int
) -> None:
    data = json.dumps(document, indent=indent, ensure_ascii=is_ascii).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse, "_BLOCK", block)
        assert cut(data) == (data, document.get("images", []))


def test_a_list_of_that_name_further_down_is_left_alone() -> None:
    data = b'{"info": {"images": [1, 2]}, "other": [{"images": [3]}], "images" : [ 4 , 5 ] }\n'
    assert cut(data) == (data, [4, 5])


def test_a_document_that_is_cut_off_is_one_line() -> None:
    with pytest.raises(DataError, match=r"a\.json is not valid JSON"):
        cut(b'{"images": [1, 2')


def test_an_item_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "_BLOCK", 10)
    monkeypatch.setattr(parse, "_MAX_ITEM", 100)
    with pytest.raises(DataError, match="an item of more than"):
        cut(b'{"images": ["' + b"x" * 1000 + b'"]}')
    long = b'{"info": "' + b"x" * 1000 + b'", "images": [1]}'
    assert cut(long) == (long, [1])


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'[{"images":', b"[[1],"])
def test_deep_nesting_is_not_coco_and_needs_little_memory(unit: bytes) -> None:
    tracemalloc.start()
    try:
        assert not is_coco(unit * ((1 << 16) // len(unit)))
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("word", ["NaN", "-Infinity"])
def test_a_file_whose_first_items_have_words_that_are_not_json_is_recognized(word: str) -> None:
    assert is_coco(f'{{"images": [{{"id": {word}, "file_name": "a.jpg"}}'.encode())
    assert not is_coco(f'{{"images": [{{"id": {word}, "name": "a.jpg"}}]}}'.encode())
