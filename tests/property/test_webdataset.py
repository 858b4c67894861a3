from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.layouts.access.folder import LocalFolder
from curate.layouts.webdataset.read import WebDataset
from curate.layouts.webdataset.tar import iter_members
from tests.layouts.shards import read_all, read_tar, rebuild, write_tar

names = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["", "a/", "a/b/", "./c/"]),
    st.text("xyé-_ 0", min_size=1, max_size=120),
    st.sampled_from(["jpg", "json", "seg.png", "cls", "txt"]),
)
members = st.lists(
    st.tuples(names, st.binary(max_size=1200)),
    max_size=12,
    unique_by=lambda member: member[0].removeprefix("./"),
)


def text_of(name: str, words: int) -> bytes:
    text = "text " * words
    return json.dumps({"text": text}).encode() if name.endswith("json") else text.encode()


@given(members)
def test_a_tar_goes_round_in_order(content: list[tuple[str, bytes]]) -> None:
    """All images and all text come out as they went in; what a rebuild made, it makes again."""
    given_ = [
        (name, data if name.endswith(("jpg", "png")) else text_of(name, len(data) % 7))
        for name, data in content
    ]
    with TemporaryDirectory() as folder:
        write_tar(Path(folder) / "in/a.tar", given_)
        source = WebDataset(LocalFolder(Path(folder) / "in"))
        rebuilt, left = rebuild(source, read_all(source), Path(folder) / "out")
        assert left == []
        assert read_tar(Path(folder) / "out/a.tar") == given_
        assert list(rebuilt.inspect("a.tar")) == []


@given(
    st.lists(st.tuples(names, st.binary(max_size=600)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=4),
    st.integers(0, 4000),
)
def test_damage_is_told_or_harmless(
    content: list[tuple[str, bytes]], changes: list[tuple[int, bytes]], end: int
) -> None:
    with TemporaryDirectory() as folder:
        data = bytearray(write_tar(Path(folder) / "a.tar", content).read_bytes())
    for place, change in changes:
        data[place : place + len(change)] = change
    with suppress(DataError):
        for member in iter_members(io.BytesIO(bytes(data[:end])), "a.tar"):
            assert ".." not in member.path.split("/")
