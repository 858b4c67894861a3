"""Figures with pointers: each number of a card has a pointer to its source, and can be recomputed.

In the card's Markdown a figure is its text between two comments::

    <!-- figure: manifest/run.json#/counts/written as count -->1,234<!-- /figure -->

The first names a file, a JSON pointer (RFC 6901, as a URI fragment) and how the value is written.
Two pointers joined by ``over`` are a share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from curate.core.errors import DataError
from curate.core.records import escape_controls

MIN_CELL = 10
"""The smallest count of people that a card shows."""

_FIGURE = re.compile(
    r"<!-- figure: (?P<pointer>[^\n<>]{1,2000}?) as (?P<form>[a-z]{1,20}) -->"
    r"(?P<text>[^\n<]{0,2000})<!-- /figure -->"
)

Documents = Mapping[str, Any]
"""JSON documents by the name that pointers use."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A figure that differs from its evidence.

    Args:
        pointer: where it comes from.
        shown: its text in the card.
        found: the text that the evidence gives now, or why there is none.
        is_missing: whether there is none.
    """

    pointer: str
    shown: str
    found: str
    is_missing: bool = False

    def describe(self) -> str:
        """Both texts in one line."""
        now = self.found if self.is_missing else f"{self.pointer} is {self.found}"
        return f"{now}, and the card says {self.shown}"


def format_figure(documents: Documents, pointer: str, form: str) -> str:
    """A figure in the card's Markdown.

    Raises:
        DataError: if the pointer leads nowhere, or to a value of another form.
    """
    value = resolve(documents, pointer)
    try:
        text = format_value(value, form)
    except DataError as error:
        raise DataError(f"{pointer}: {error}") from None
    return f"<!-- figure: {pointer} as {form} -->{text}<!-- /figure -->"


def find_mismatches(text: str, documents: Documents) -> Iterator[Mismatch]:
    """Recompute every figure of a card.

    Args:
        text: the card.
        documents: the evidence as it is now.
    """
    for found in _FIGURE.finditer(text):
        pointer, shown = found["pointer"], found["text"]
        try:
            value = resolve(documents, pointer)
        except DataError as error:
            yield Mismatch(pointer, shown, str(error), is_missing=True)
            continue
        try:
            now = format_value(value, found["form"])
        except DataError as error:
            yield Mismatch(pointer, shown, f"{pointer}: {error}", is_missing=True)
            continue
        if now != shown:
            yield Mismatch(pointer, shown, now)


def iter_pointers(text: str) -> Iterator[str]:
    """Pointers of the figures of a card; of a share, both."""
    for found in _FIGURE.finditer(text):
        yield from found["pointer"].split(" over ")


def split_pointer(pointer: str) -> tuple[str, list[str]]:
    """The file of a pointer, and the keys that lead to the value."""
    name, _, path = pointer.partition("#")
    parts = (
        unquote_to_bytes(part).decode("utf-8", "surrogatepass") for part in path.split("/")[1:]
    )
    return name, [part.replace("~1", "/").replace("~0", "~") for part in parts]


def resolve(documents: Documents, pointer: str) -> Any:
    """The value that a pointer names.

    Raises:
        DataError: if it leads nowhere.
    """
    if " over " in pointer:
        above, _, below = pointer.partition(" over ")
        a, b = resolve(documents, above), resolve(documents, below)
        if not _is_number(a) or not _is_number(b):
            raise DataError(f"{pointer} is not of two numbers")
        return None if b == 0 else a / b
    try:
        name, keys = split_pointer(pointer)
    except UnicodeDecodeError:
        raise DataError(f"{pointer} is not a pointer") from None
    if name not in documents:
        raise DataError(f"{name} is not there")
    value = documents[name]
    for key in keys:
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise DataError(f"{name} has nothing at {pointer.partition('#')[2]}") from None
    return value


def escape(key: str) -> str:
    """A key as part of a JSON pointer in a URI fragment (RFC 6901, section 6).

    What could end a comment, a table's cell or a line is written in per cent.
    """
    plain_key = str(key).replace("~", "~0").replace("/", "~1")
    return quote(plain_key.encode("utf-8", "surrogatepass"), safe="~!$&'()*+,;=:@._")


def format_value(value: Any, form: str) -> str:
    """A value in words.

    Raises:
        DataError: if it is not of that form.
    """
    if value is None:
        return "not defined"
    if form not in FORMS:
        raise DataError(f"{form!r} is not a form of figures")
    holds, write = FORMS[form]
    if not holds(value):
        raise DataError(f"a value is not of the form {form!r}")
    return write(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _signed(value: float, places: int = 2) -> str:
    return f"{value:+.{places}f}".replace("-", "−")


def _plain(text: str) -> str:
    """Text that can neither end a comment nor open an element nor break a table."""
    cleaned = escape_controls(" ".join(text.split()))
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        cleaned = cleaned.replace(mark, entity)
    return cleaned.replace("[", "\\[").replace("`", "\\`")


Form = tuple[Callable[[Any], bool], Callable[[Any], str]]
FORMS: Mapping[str, Form] = {
    "count": (_is_number, lambda value: f"{value:,}"),
    "share": (_is_number, lambda value: f"{100 * value:.1f} %"),
    "upper": (_is_number, lambda value: f"{100 * value:.3g} %"),
    "level": (_is_number, lambda value: f"{100 * value:g} %"),
    "number": (_is_number, lambda value: f"{value:.3g}".replace("-", "−")),
    "points": (_is_number, lambda value: f"{_signed(100 * value)} points"),
    "interval": (
        _is_interval,
        lambda value: f"95 % interval {100 * value[0]:.1f} to {100 * value[1]:.1f} %",
    ),
    "pointsinterval": (
        _is_interval,
        lambda value: f"95 % interval {_signed(100 * value[0])} to {_signed(100 * value[1])}",
    ),
    "text": (lambda value: isinstance(value, str), _plain),
    "digest": (lambda value: isinstance(value, str), lambda value: f"`{value}`"),
}
"""How values are written, by name."""


def find_hidden(counts: Mapping[str, Any]) -> set[str]:
    """Groups whose count is not shown: small ones, and as many others as give them away.

    Args:
        counts: people by group, as far as they are known; they sum to a total that is shown.
    """
    known = {name: count for name, count in counts.items() if isinstance(count, int)}
    hidden = {name for name, count in known.items() if 0 < count < MIN_CELL}
    rest = sorted((count, name) for name, count in known.items() if count >= MIN_CELL)
    unknown = len(counts) - len(known)
    while hidden and rest and not unknown:
        if len(hidden) > 1 and sum(known[name] for name in hidden) >= MIN_CELL:
            break
        hidden.add(rest.pop(0)[1])
    return hidden | (counts.keys() - known.keys())


def plain(text: str) -> str:
    """Text of a person or a file as Markdown in which nothing is marked up."""
    return _plain(text)
