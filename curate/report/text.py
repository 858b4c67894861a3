"""Text for people: agreement with a count of one, minus signs, arrows, lines of a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

_NOUNS = {
    **{f"{noun}s": noun for noun in (
        "image", "face", "file", "record", "line", "label", "row", "group", "pair", "id",
        "archive", "table", "annotation", "judgment", "annotator", "decision", "detection",
        "association", "pattern", "text", "name", "region", "seed", "problem", "member", "output",
        "source", "shard", "difference", "rate", "combination", "value", "cell", "near-duplicate",
        "intersection", "split", "worker", "sample", "prediction", "count", "request", "model",
        "candidate", "reviewer", "frame", "network", "epoch", "second", "minute", "hour",
        "shard",
    )},
    "boxes": "box", "classes": "class", "copies": "copy", "people": "person",
       "strata": "stratum",
}  # fmt: skip
_VERBS = {"are": "is", "were": "was", "have": "has", "show": "shows", "match": "matches",
          "refer": "refers", "reverse": "reverses", "contain": "contains"}  # fmt: skip
# Between the count and its noun, but not across another phrase: "1 of the images".
_WORD = r"(?!(?:of|in|on|at|the|or|to|for|and|per|by|from|with|than|more)\b)[a-z][a-z-]* "
_ONE = re.compile(
    rf"(?<![\w.,−–/-])1 ((?:{_WORD}){{0,2}})({'|'.join(sorted(_NOUNS, key=len, reverse=True))})\b"
    rf"((?: (?:with|without|in|of)(?: (?!and\b)[a-z][a-z-]*){{1,5}}?)? (?:{'|'.join(_VERBS)})\b)?"
)
_MINUS = re.compile(r"(?<![^\s(\[])-(?=\d)")
# Not part of a path, or of a file's name, but at the end of a sentence.
_WNID = re.compile(r"(?<![\w./-])n\d{8}(?![\w/-]|\.\w)")
_URI = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_COLUMNS = re.compile(r"\S {2,}\S")


def typeset(text: str) -> str:
    """Return a text with its nouns in the singular after 1, minus signs and arrows.

    >>> typeset("1 labeled images are left out: -0.5 -> 0.2")
    '1 labeled image is left out: −0.5 → 0.2'
    """
    text = _ONE.sub(_to_singular, text)
    return _MINUS.sub("−", text).replace(" -> ", " → ")


def name_classes(text: str) -> str:
    """Return a text with the class name after each WordNet id of ImageNet, except in paths.

    >>> name_classes("n01440764: train/n01440764/a.jpg")
    'n01440764 tench: train/n01440764/a.jpg'
    """
    return _WNID.sub(_with_name, text)


def _with_name(found: re.Match[str]) -> str:
    name = imagenet_classes().get(found[0])
    return found[0] if name is None else f"{found[0]} {name}"


@cache
def imagenet_classes() -> Mapping[str, str]:
    """Return the names of the 1,000 classes of ILSVRC 2012 by WordNet id.

    The order is that of the scores of models, which is that of the ids.
    """
    lines = (files("curate.report") / "imagenet_classes.tsv").read_text(encoding="utf-8")
    pairs = (line.partition("\t") for line in lines.splitlines())
    return MappingProxyType({wnid: name for wnid, _, name in pairs})


def name_attributes(crossed: str) -> str:
    """Return attributes that are crossed, such as ``gender,age``, for people."""
    return crossed.replace(",", " and ")


def name_source(given: str | Path) -> str:
    """Return an input as reports name it: as given, but without the folders of this machine.

    >>> name_source("data/photos/"), name_source("/home/ann/photos"), name_source("s3://b/photos")
    ('data/photos', 'photos', 's3://b/photos')
    """
    text = str(given)
    if _URI.match(text):
        scheme, mark, rest = text.partition("://")
        return f"{scheme}{mark}{rest.partition('?')[0].rpartition('@')[2]}" if mark else text
    path = Path(given)
    if path.is_absolute() or not path.name or path.name == "..":
        path = Path(path.resolve().name)
    return path.as_posix()


def wrap(text: str, width: int) -> str:
    """Break lines of prose at words; lines of a table, with wide gaps, stay as they are."""
    return "\n".join(_wrap_line(line, width) for line in text.splitlines())


def _to_singular(found: re.Match[str]) -> str:
    words, noun, rest = found.groups()
    between, _, verb = (rest or "").rpartition(" ")
    return f"1 {words}{_NOUNS[noun]}" + (f"{between} {_VERBS[verb]}" if verb else "")


def _wrap_line(line: str, width: int) -> str:
    indent = len(line) - len(line.lstrip())
    if len(line) <= width or _COLUMNS.search(line):
        return line
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2 if indent else 0),
        break_long_words=False,
        break_on_hyphens=False,
    )
