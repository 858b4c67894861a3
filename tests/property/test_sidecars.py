from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from curate.layouts.coco.rewrite import rewrite_coco
from curate.layouts.sidecars.values import Limits

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=700),
    lambda inner: st.lists(inner, max_size=80) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=60,
)


@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=9))
def test_limits_are_idempotent(record: dict[str, Any]) -> None:
    once = Limits().record(record)
    again = Limits()
    assert repr(again.record(once)) == repr(once)
    assert again.content.count_dropped() == 0


@given(
    st.dictionaries(st.text(max_size=9), VALUES, max_size=5),
    st.lists(st.dictionaries(st.text(max_size=9), VALUES, max_size=4), max_size=4),
    st.sampled_from([None, 1, 2]),
)
def test_rewriting_a_file_again_gives_the_same_bytes(
    whole: dict[str, Any], images: list[dict[str, Any]], indent: int | None
) -> None:
    def rewrite(data: bytes) -> bytes:
        out = io.BytesIO()
        rewrite_coco(io.BytesIO(data), out, "a.json", Limits())
        return out.getvalue()

    once = rewrite(json.dumps({**whole, "images": images}, indent=indent).encode())
    assert rewrite(once) == once
