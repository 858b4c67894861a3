"""Compare the card of an OUT with what its evidence makes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.errors import DataError, ProblemsError
from curate.manifest.files import Problem
from curate.publishing.card import picture, render
from curate.publishing.card.evidence import ReportError
from curate.publishing.card.figures import find_mismatches
from curate.publishing.card.header import format_header, split_card
from curate.publishing.croissant.build import find_missing
from curate.storage.regular import open_regular, read_regular

if TYPE_CHECKING:
    from curate.publishing.card.run import Card

QUESTIONS = "card.toml"
CARD, CROISSANT, CITATION = "README.md", "croissant.json", "CITATION.cff"
_MAX_TEXT = 4 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """How a file of a card differs from what its evidence makes.

    Args:
        file: the file.
        reason: what is wrong with it.
    """

    file: str
    reason: str


def load_text(path: Path) -> str:
    """A text that a person wrote, of a bounded size.

    Raises:
        FileNotFoundError: if it is not there.
        DataError: if it cannot be read.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_TEXT + 1)
        if len(data) > _MAX_TEXT:
            raise DataError(f"{path} is larger than {_MAX_TEXT >> 20} MB; shorten it")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def iter_faults(out: Path, error: DataError) -> Iterator[Problem]:
    """What keeps a card from being made: faults of a report, or else of ``card.toml``."""
    if isinstance(error, ReportError):
        yield Problem("card", error.name, error.what)
        return
    for fault in _describe_faults(out, error):
        yield Problem("card", QUESTIONS, fault)


def _describe_faults(out: Path, error: DataError) -> list[str]:
    """A line for each fault, without the name of card.toml."""
    if isinstance(error, ProblemsError):
        return list(error.problems)
    text = str(error)
    for name in (str(out / QUESTIONS), QUESTIONS):
        text = text.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return [text]


def load_card(out: Path) -> tuple[dict[str, Any], str]:
    """Header and body of the card that is there; empty if there is none."""
    try:
        return split_card(load_text(out / CARD))
    except FileNotFoundError:
        return {}, ""


def format_json(value: Any) -> str:
    """JSON for people and programs."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def iter_differences(out: Path, card: Card) -> Iterator[Difference]:
    """How the card that is there differs from what its evidence makes now."""
    header, body = load_card(out)
    if not body:
        yield Difference(CARD, f"is missing; run `curate card {shlex.quote(str(out))}`")
        return
    any_mismatch = False
    for found in find_mismatches(body, card.documents):
        any_mismatch = True
        yield Difference(CARD, found.describe())
    if (
        not any_mismatch
        and render.without_kept(body).strip() != render.without_kept(card.body).strip()
    ):
        yield Difference(CARD, _first_difference(body, card.body))
    if format_header(header) != format_header(card.header):
        keys = [key for key in card.header if header.get(key) != card.header[key]]
        reason = f"its YAML differs in {', '.join(keys) or 'the order of its keys'}"
        if "configs" in keys:
            reason += "; if the card was written with --as, give the same --as"
        yield Difference(CARD, reason)
    for name, expected in ((CROISSANT, format_json(card.croissant)), (CITATION, card.citation)):
        path = out / name
        if not path.is_file():
            yield Difference(name, f"is missing; run `curate card {shlex.quote(str(out))}`")
        elif not _has_content(path, expected.encode()):
            yield Difference(
                name, f"is not what its evidence makes; run `curate card {shlex.quote(str(out))}`"
            )
    if _has_other_picture(out, card):
        yield Difference(picture.NAME, "is not the example picture")


def _has_content(path: Path, expected: bytes) -> bool:
    try:
        return read_regular(path, max_bytes=len(expected)) == expected
    except OSError:
        return False


def _has_other_picture(out: Path, card: Card) -> bool:
    path = out / picture.NAME
    if not path.is_symlink() and not path.exists():
        return False
    obfuscator = card.documents["manifest/run.json"].get("obfuscator")
    if obfuscator is None or path.is_symlink() or not path.is_file():
        return True
    try:
        return not picture.is_example(read_regular(path), obfuscator)
    except OSError:
        return True


def _first_difference(found: str, expected: str) -> str:
    pairs = zip(
        render.without_kept(found).strip().splitlines(),
        render.without_kept(expected).strip().splitlines(),
        strict=False,
    )
    for number, (a, b) in enumerate(pairs, start=1):
        if a != b:
            return f"line {number} of its body is {a[:80]!r}, expected {b[:80]!r}"
    return "lines are missing or added at its end"


def check_profile(card: Card, profile: str) -> None:
    """Refuse a card that lacks what a profile asks for.

    Raises:
        DataError: naming every empty field.
    """
    if profile == "neurips2026":
        missing = find_missing(card.croissant)
        if missing:
            raise DataError(
                f"profile neurips2026: {', '.join(missing)} are empty; answer them in {QUESTIONS}"
            )
        return
    empty = [row.id for row in card.rows if row.status == "none"]
    if empty:
        raise DataError(
            f"profile eu: no evidence for {', '.join(empty)}; add it to [governance] of "
            f"{QUESTIONS}, or say why a row does not apply"
        )
