from __future__ import annotations

import pytest

from curate.core.records import escape_unprintable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("train/é 😀.jpg", "train/é 😀.jpg"),
        ("a\x1b[2Jb\n", r"a\x1b[2Jb\n"),
        ("\u202egpj.a", r"\u202egpj.a"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("\u2028\x85\x7f", r"\u2028\x85\x7f"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, shown: str) -> None:
    assert escape_unprintable(text) == shown
