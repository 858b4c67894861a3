"""Hostile JSON and YAML is refused wherever a user passes it, before it takes memory."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.balance.audit.merge import load_audit
from curate.balance.correct.transforms import load_transforms
from curate.balance.labels.vocabulary import load_vocabulary
from curate.core.documents import MAX_JSON, MAX_YAML, parse_json, parse_toml, parse_yaml
from curate.core.errors import CurateError, DataError
from curate.publishing.card.header import split_card

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
YAML = {
    "aliases": (ALIASES, "YAML alias"),
    "merged": ("a: &a {x: 1}\nb: {<<: *a}\n", "YAML alias"),
    "brackets": ("a: " + "[" * 60_000, "nested deeper"),
    "braces": ("a: " + "{a: " * 60_000, "nested deeper"),
    "indented": ("".join(" " * n + "a:\n" for n in range(40)), "nested deeper"),
    "tag": ("a: !!python/object/apply:os.system [id]\n", "not valid YAML"),
    "long": ("a: " + "x" * MAX_YAML, "longer than 1 MB"),
}


def peak_of(read: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", YAML)
def test_hostile_yaml_is_refused_everywhere(name: str, tmp_path: Path) -> None:
    text, reason = YAML[name]
    file = tmp_path / "t.yaml"
    file.write_text(text)
    reads: tuple[Callable[[], Any], ...] = (
        lambda: parse_yaml(text.encode(), "t.yaml"),
        lambda: split_card(f"---\n{text}\n---\nbody"),
    )
    for read in reads:
        with pytest.raises(DataError, match=reason):
            read()

    def load() -> None:
        with pytest.raises(CurateError) as caught:
            load_transforms(file)
        assert str(caught.value).isprintable()

    assert peak_of(load) < 64 << 20


@pytest.mark.parametrize("text", ["a: 1\nb: [x, {y: 2}]\n", "", "a: 'é'\n"])
def test_plain_yaml_is_parsed(text: str) -> None:
    import yaml

    assert parse_yaml(text, "t") == yaml.safe_load(text)


JSON = {
    "arrays": b"[" * 500_000,
    "objects": b'{"a":' * 500_000,
    "values": b"[" + b"[]," * 5_000_000 + b"[]]",
    "numbers": b"[" + b"1," * 5_000_000 + b"1]",
    "long": b'"' + b"x" * MAX_JSON + b'"',
    "truncated": b'{"version": 1',
    "encoding": '{"a": "é"}'.encode("latin-1"),
    "digits": b"[" + b"9" * 300_000 + b"]",
    "nested": b"[" * 101 + b"]" * 101,
    "nested between texts": b'["]", ' * 101 + b"1" + b', "["]' * 101,
}


@pytest.mark.parametrize("name", JSON)
def test_hostile_json_is_refused_everywhere(name: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(JSON[name])
    with pytest.raises((DataError, ValueError)):
        parse_json(JSON[name], "report.json")

    def load() -> None:
        for read in (load_audit, lambda path: load_vocabulary(str(path))):
            with pytest.raises(DataError, match=r"report\.json") as caught:
                read(file)
            assert str(caught.value).isprintable()

    assert peak_of(load) < 300 << 20


def test_plain_json_is_parsed() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, null]}', "t") == {"a": [1, 2.5, None]}
    texts = ["[" * 200, '"{' * 200, "\\"]
    assert parse_json(json.dumps(texts).encode(), "t") == texts
    assert parse_json(b"[" * 100 + b"]" * 100, "t") != []


def test_a_document_without_end_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    os.truncate(tmp_path / "a.json", 1 << 40)
    with pytest.raises(DataError, match="larger than 64 MB"):
        load_audit(tmp_path / "a.json")


def test_numbers_of_many_digits_are_not_converted() -> None:
    assert parse_json(json.dumps(["9" * 200, 10**99]).encode(), "t") == ["9" * 200, 10**99]
    for text in ("9" * 101, "-" + "9" * 900_000):
        with pytest.raises(ValueError, match=r"a number has [0-9,]+ digits"):
            parse_json(f'[1, {{"a": {text}}}]'.encode(), "t")
    for text in ("9" * 900_000, "0x" + "f" * 900_000):  # in linear time
        with pytest.raises(ValueError, match="a number has more than 100 digits"):
            parse_toml(f"a = {text}")


@pytest.mark.parametrize("key", ["a", "'a b'", '"a"', "abc_d-e"])
def test_keys_of_many_parts_are_refused(key: str) -> None:
    assert parse_toml(".".join([key] * 90) + " = 1")
    for text in (".".join([key] * 101), " . ".join([key] * 101)):
        for line in (f"{text} = 1", f"[{text}]", f"a = {{{text} = 1}}"):
            with pytest.raises(ValueError, match="100 parts"):
                parse_toml(line)


def test_a_word_is_searched_for_parts_once() -> None:
    """At each letter again, this would take half an hour."""
    assert parse_toml(f"a = '''{'x' * (1 << 20)}'''") == {"a": "x" * (1 << 20)}
