"""What a card cites: the values of reports and answers that are published as evidence.

A report may hold more than a card shows, such as groups too small to be shown or names of images,
and ``card.toml`` may hold notes. So of each, only the values that the card cites are published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from curate.core.documents import parse_json, parse_toml
from curate.core.errors import DataError
from curate.publishing.card.figures import Documents, iter_pointers, resolve, split_pointer
from curate.publishing.card.render import without_kept

_ROW = re.compile(r"\| `(?P<pointer>[^`\n|<>#]{1,500}#/[^`\n|<>]{1,2000})` \|")
"""Evidence of a governance row."""
_NOTE = "The values that README.md cites; the whole is kept by the maintainer."


def iter_rows(text: str) -> Iterator[str]:
    """Pointers of the governance rows of a card, without those in sections that people wrote."""
    for found in _ROW.finditer(without_kept(text)):
        yield found["pointer"]


def find_cited(text: str) -> dict[str, list[str]]:
    """Pointers of a card's figures and governance rows, by the file that they lead into."""
    cited: dict[str, list[str]] = {}
    for pointer in (*iter_pointers(text), *iter_rows(text)):
        cited.setdefault(pointer.partition("#")[0], []).append(pointer)
    return cited


def extract(documents: Documents, text: str) -> dict[str, dict[str, Any]]:
    """The cited values of each document, under the same pointers.

    Of an object that a governance row cites as a whole, only the values of figures are taken.

    Args:
        documents: everything that pointers lead into.
        text: the card.
    """
    made: dict[str, dict[str, Any]] = {}
    for name, pointers in sorted(find_cited(text).items()):
        tree: dict[Any, Any] = {}
        for pointer in pointers:
            _set_value(tree, split_pointer(pointer)[1], resolve(documents, pointer))
        made[name] = _as_lists(tree, documents[name])
    return made


def _set_value(tree: dict[Any, Any], keys: list[str], value: Any) -> None:
    if isinstance(value, dict) or (isinstance(value, list) and any(map(_is_nested, value))):
        value = {}
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    if value != {} or keys[-1] not in tree:
        tree[keys[-1]] = value


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _as_lists(tree: Any, document: Any) -> Any:
    """A tree of objects with the lists that the document has; what is not cited is null."""
    if not isinstance(tree, dict):
        return tree
    if isinstance(document, list):
        filled: list[Any] = [None] * (max(map(int, tree), default=-1) + 1)
        for key, value in tree.items():
            filled[int(key)] = _as_lists(value, document[int(key)])
        return filled
    return {key: _as_lists(value, document[key]) for key, value in tree.items()}


def format_evidence(name: str, value: Mapping[str, Any]) -> bytes:
    """The content of a published file of evidence, JSON or TOML by its name."""
    if not name.endswith(".toml"):
        text = json.dumps({"note": _NOTE, **value}, indent=2, allow_nan=False)
        return f"{text}\n".encode()
    lines = [f"# {_NOTE}"]
    for table, answers in value.items():
        lines += ["", f"[{table}]"]
        lines += [f"{key} = {_format_toml(answer)}" for key, answer in answers.items()]
    return ("\n".join(lines) + "\n").encode()


def _format_toml(value: Any) -> str:
    """A text, number, flag or list of texts; TOML escapes as JSON does, and DEL as well."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_evidence(name: str, data: bytes) -> Any:
    """A published file of evidence.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return parse_toml(data.decode()) if name.endswith(".toml") else parse_json(data, name)
    except (ValueError, RecursionError):
        kind = "TOML" if name.endswith(".toml") else "JSON"
        raise DataError(f"{name} is not valid {kind}") from None
