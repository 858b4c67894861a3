from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.publishing.card.figures import (
    FORMS,
    Mismatch,
    escape,
    find_hidden,
    find_mismatches,
    format_figure,
    format_value,
    plain,
    resolve,
)

DOCUMENTS = {
    "a.json": {"n": 1234, "m": 2468, "zero": 0, "list": [{"x": [0.1, 0.25]}], "a/b~c": {"": 7}},
}


@pytest.mark.parametrize(
    ("pointer", "form", "shown"),
    [
        ("a.json#/n", "count", "1,234"),
        ("a.json#/n over a.json#/m", "share", "50.0 %"),
        ("a.json#/n over a.json#/zero", "share", "not defined"),
        ("a.json#/list/0/x", "interval", "95 % interval 10.0 to 25.0 %"),
        ("a.json#/a~1b~0c/", "count", "7"),
    ],
)
def test_a_figure_is_shown_as_its_form_says(pointer: str, form: str, shown: str) -> None:
    text = format_figure(DOCUMENTS, pointer, form)
    assert re.sub("<!--.*?-->", "", text) == shown
    assert list(find_mismatches(text, DOCUMENTS)) == []


def test_a_changed_figure_and_changed_evidence_are_found() -> None:
    text = format_figure(DOCUMENTS, "a.json#/n", "count")
    assert list(find_mismatches(text.replace("1,234", "1,235"), DOCUMENTS)) == [
        Mismatch("a.json#/n", "1,235", "1,234")
    ]
    assert list(find_mismatches(text, {"a.json": {"n": 5}})) == [
        Mismatch("a.json#/n", "1,234", "5")
    ]
    assert list(find_mismatches(text, {})) == [
        Mismatch("a.json#/n", "1,234", "a.json is not there", is_missing=True)
    ]
    assert next(find_mismatches(text, {"a.json": {"n": "many"}})).found == (
        "a.json#/n: a value is not of the form 'count'"
    )


def test_a_mismatch_is_one_clause() -> None:
    text = format_figure(DOCUMENTS, "a.json#/n", "count")
    described = [
        next(find_mismatches(text, documents)).describe()
        for documents in ({"a.json": {"n": 5}}, {"a.json": {}}, {}, {"a.json": {"n": "many"}})
    ]
    assert described == [
        "a.json#/n is 5, and the card says 1,234",
        "a.json has nothing at /n, and the card says 1,234",
        "a.json is not there, and the card says 1,234",
        "a.json#/n: a value is not of the form 'count', and the card says 1,234",
    ]


@pytest.mark.parametrize("pointer", ["b.json#/n", "a.json#/x", "a.json#/list/7", "a.json#/n/n"])
def test_a_pointer_that_leads_nowhere_is_an_error(pointer: str) -> None:
    with pytest.raises(DataError):
        format_figure(DOCUMENTS, pointer, "count")


@given(st.dictionaries(st.text(max_size=3), st.none() | st.integers(0, 40), max_size=6))
def test_a_small_count_cannot_be_had_by_subtraction(counts: dict[str, int | None]) -> None:
    hidden = find_hidden(counts)
    known = {name: count for name, count in counts.items() if count is not None}
    small = {name for name, count in known.items() if 0 < count < 10}
    assert small <= hidden
    if small and len(known) == len(counts) and hidden != {n for n, c in known.items() if c}:
        assert len(hidden) > 1
        assert sum(known[name] for name in hidden) >= 10
    if not small and len(known) == len(counts):
        assert hidden == set()


@given(st.text())
def test_any_key_can_be_pointed_to(key: str) -> None:
    assert resolve({"a": {key: 1}}, f"a#/{escape(key)}") == 1


@given(st.text())
def test_texts_can_neither_end_a_comment_nor_open_an_element(text: str) -> None:
    shown = plain(text)
    assert "<" not in shown
    assert "-->" not in shown
    assert "\n" not in shown
    assert re.search(r"(?<!\\)\|", shown) is None


@given(
    st.sampled_from(sorted(FORMS)), st.none() | st.integers() | st.text() | st.lists(st.floats())
)
def test_a_value_is_written_or_refused(form: str, value: object) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(format_value(value, form), str)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\x1b[31mb", "a\\x1b\\[31mb"),
        ("bidi\u202ex", "bidi\\u202ex"),
        ("\u2066a\x7f\x9b", "\\u2066a\\x7f\\x9b"),
        ("\udc80", "\\udc80"),
        ("a\u200db", "a\u200db"),  # joins letters and emoji
    ],
)
def test_control_characters_of_names_are_escaped(name: str, expected: str) -> None:
    assert plain(name) == format_value(name, "text") == expected
