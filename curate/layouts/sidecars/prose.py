"""Measures of texts: words, digits, symbols, links, and runs that look encoded."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from curate.layouts.sidecars.content import URL, words_of
from curate.layouts.sidecars.invisible import cost_of_invisible

MAX_TEXT = 512
"""Characters of a text that is not prose."""
MAX_PROSE = 16_384
"""Characters of a text of words."""
MAX_URL = 1024
"""Characters of a URL."""
MAX_RUN = 60
"""Characters without a space that may be irregular; lines of base64 have 64 or 76."""
MAX_NAME_RUN = 16
"""Letters and digits of a class name that may be irregular."""
MAX_NAME = 200
"""Characters of a class name."""
MAX_CODES = 4096
"""Characters of the class names of a file that look encoded, as ids of Freebase do."""
MAX_NUMBERS = 200
"""Numbers in a row in a text."""

_RUN = 16  # letters and digits from which a part is measured
_WORD = 40
_COLORS = 64
_ELEMENTS = 16
_ALPHABET = 320  # letters of a text that are no ideographs; encodings to Unicode have thousands

_CLASSES = frozenset(
    [
        "names",
        "classes",
        "categories",
        "classnames",
        "synsets",
        "wnids",
        "labels",
        "id2label",
        "label2id",
    ]
)
_NUMBER = re.compile(r"-?\d{1,9}")
_PART = re.compile(r"[^\W_]+")
_HEXADECIMAL = re.compile(r"[0-9a-f]{1,128}", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_DATA = re.compile(r"data:(?:image|application|[\w.+-]{0,32}/?[\w.+-]{0,32};base64)", re.IGNORECASE)
_REFUSED = re.compile(rf"(?i:{_DATA.pattern})|{_CONTROL.pattern}|[0-9]{{33}}")
_SWITCH = re.compile(r"(?<=[a-z])(?=[A-Z\d])|(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_TRIPLE = re.compile(r"([^\W\d_])\1\1")
_COLOR = re.compile(r"#[0-9a-f]{6}\b|\brgba?\(", re.IGNORECASE)
_ELEMENT = re.compile(
    r"<(?:rect|path|circle|ellipse|line|polyline|polygon|image|use|stop)\b", re.IGNORECASE
)


@dataclass(slots=True)
class Measure:
    """What a text consists of, in characters.

    Args:
        total: letters, digits and marks, without links.
        digits: digits.
        irregular: words that mix cases, letters and digits, repeat a letter three times or are
            longer than 40, and rare ideographs.
        encoded: parts of 16 and more whose case and kind changes every four characters.
        symbols: all else but white space.
        drawn: words that consist mostly of symbols, other than rules such as ``-----``.
        links: links.
        longest_link: the longest of them.
        numbers: most numbers in a row.
    """

    total: int = 0
    digits: int = 0
    irregular: int = 0
    encoded: int = 0
    symbols: int = 0
    drawn: int = 0
    links: int = 0
    longest_link: int = 0
    numbers: int = 0


def measure_text(value: str) -> Measure:
    """Return what a text consists of."""
    return _remember_measure(value) if len(value) <= MAX_PROSE else _measure(value)


def _measure(value: str) -> Measure:
    found = Measure()
    if "://" in value:
        sizes = [len(match[0]) for match in URL.finditer(value)]
        found.links, found.longest_link = sum(sizes), max(sizes, default=0)
        value = URL.sub(" ", value)
    row = 0
    for token in value.split():
        letters = 0
        for part in _PART.findall(token):
            letters += len(part)
            if part.isdigit():
                found.digits += len(part)
                row += 1
                found.numbers = max(found.numbers, row)
                continue
            row = 0
            _measure_part(part, found)
        if not token.isascii():
            letters = sum(map(_is_letter, token))
            found.irregular += sum(map(_is_rare, token))
        found.total += letters
        symbols = len(token) - letters
        if symbols > 4 and len(set(token)) <= 2:
            symbols = 4  # a rule, such as of a table
        elif symbols * 2 > len(token) and len(token) >= 4:
            found.drawn += len(token)
        found.symbols += symbols
    return found


def measure_runs(value: str) -> int:
    """Return about how many bits the runs of a text that are not words contain.

    A digit or a hexadecimal digit has four, other letters and digits of a mixed run have six,
    symbols four, symbols of other scripts and rare ideographs sixteen.
    """
    bits = 0
    for part in _PART.findall(value):
        found = Measure()
        _measure_part(part, found)
        if part.isdigit():
            bits += max(8, 4 * len(part))
        elif found.irregular and not (part.isalpha() and not is_encoded_part(part)):
            bits += (4 if _HEXADECIMAL.fullmatch(part) else 6) * len(part)
    for token in value.split():
        symbols = sum(not _is_letter(character) for character in token)
        bits += 4 * min(symbols, 4 if len(set(token)) <= 2 else symbols)
        if not token.isascii():
            wide = (c for c in token if not c.isascii() and not _is_letter(c))
            bits += 16 * sum(map(_is_rare, token)) + 12 * sum(1 for _ in wide)
    return bits


def _measure_part(part: str, found: Measure) -> None:
    size = len(part)
    if (size > _WORD and part.isascii()) or not part.isalpha():
        found.irregular += size
    elif not (part.islower() or part.isupper() or part[1:].islower()):
        found.irregular += 0 if not part.isascii() and part.upper() == part.lower() else size
    elif _TRIPLE.search(part) and part.lower() != "www" and part.isascii():
        found.irregular += size
    if size >= _RUN:
        found.encoded += size * is_encoded_part(part)


def is_encoded_part(part: str) -> bool:
    """Return whether the case or the kind of characters changes every four or more often."""
    return part.isascii() and (
        len(_SWITCH.findall(part)) * 4 > len(part) or (len(part) > _WORD and part.isalnum())
    )


def _is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def _is_rare(character: str) -> bool:
    """Return whether a character is an ideograph or a syllable of Hangul, and not a common one."""
    code = ord(character)
    is_listed = 0x3400 <= code < 0xA000 or 0xAC00 <= code < 0xD7B0 or code >= 0x20000
    return is_listed and character not in _common()


@cache
def _common() -> frozenset[str]:
    """Return the ideographs and syllables that the national standards list as common."""
    blocks = (
        ("gb2312", 0xB0, 0xD8, 0xA1),
        ("big5", 0xA4, 0xC7, 0x40),
        ("euc_jp", 0xB0, 0xD0, 0xA1),
        ("euc_kr", 0xB0, 0xC9, 0xA1),
    )
    return frozenset(
        character
        for encoding, first, last, low in blocks
        for lead in range(first, last)
        for trail in range(low, 0xFF)
        for character in bytes((lead, trail)).decode(encoding, "ignore")
    )


def is_text(value: str) -> bool:
    """Return whether a text is within the limits: short, a URL, or prose.

    No URL is longer than `MAX_URL` or has data of its own, and no part without spaces is longer
    than `MAX_RUN`, unless it is hexadecimal or of words; no number has more than 32 digits.
    """
    if len(value) > MAX_PROSE or _REFUSED.search(value):
        return False
    if len(value) <= MAX_RUN:
        return True
    words = value
    if "://" in value:
        if any(len(match[0]) > MAX_URL for match in URL.finditer(value)):
            return False
        words = URL.sub(" ", value)
    if any(map(_is_encoded, words.split())):
        return False
    return len(value) <= MAX_TEXT or len(words.strip()) <= 1 or is_prose(value)


def _is_encoded(token: str) -> bool:
    """Return whether a text without spaces is longer than names are, and without words."""
    if len(token) <= MAX_RUN or _HEXADECIMAL.fullmatch(token):
        return False
    if suffix := _SUFFIX.search(token):  # a path, of which each name may be a digest
        return any(map(_is_encoded, token[: suffix.start()].split("/")))
    found = measure_text(token)
    return found.irregular * 2 > found.total


def is_prose(value: str) -> bool:
    """Return whether a text consists of words.

    Words have letters of one case, or one capital, and at most 40 of them; digits are less than
    a quarter, symbols than a third and 64. Encoded data (base64, hexadecimal, quoted-printable,
    lists of pixels) and art made of characters are not prose.
    """
    # Joined texts have megabytes, of which a cache would keep hundreds.
    return _remember_prose(value) if len(value) <= MAX_PROSE else _is_prose(value)


def _is_prose(value: str) -> bool:
    found = measure_text(value)
    total = found.total
    if total == 0:
        return not value.strip() or found.links > 0
    return (
        found.irregular <= min(total // 6, 256 + total // 20)
        and found.digits * 4 <= total
        and found.symbols <= 64 + total // 3
        and found.drawn <= 128 + total // 32
        and found.encoded <= 256
        and found.numbers <= MAX_NUMBERS
        and not is_drawing(value)
        and has_alphabet(value)
    )


_remember_measure = lru_cache(256)(_measure)
_remember_prose = lru_cache(256)(_is_prose)


def is_drawing(value: str) -> bool:
    """Return whether a text has many colors, or elements of a drawing of SVG."""
    if "<" not in value and "#" not in value and "(" not in value:
        return False
    elements, colors = _ELEMENT.findall(value), _COLOR.findall(value)
    return len(elements) >= _ELEMENTS or len(colors) >= _COLORS


def has_alphabet(value: str) -> bool:
    """Return whether the letters that are no ideographs are as few as of languages."""
    if value.isascii():
        return True
    letters = (c for c in set(value) if c.isalpha() and not "\u3400" <= c < "\ud7b0")
    return sum(1 for c in letters if c < "\U00020000") <= _ALPHABET


def are_class_names(items: Iterable[object]) -> bool:
    """Return whether values are the names of classes: distinct, short, and of words or codes.

    Nine of ten are distinct; none is longer than `MAX_NAME` or has an irregular run longer than
    `MAX_NAME_RUN`.
    """
    names = list(items)
    texts = [name for name in names if isinstance(name, str)]
    if len(texts) < len(names) or len(set(texts)) * 10 < len(texts) * 9:
        return False
    codes = 0
    for name in texts:
        if len(name) > MAX_NAME or _CONTROL.search(name) or _DATA.search(name) or "://" in name:
            return False
        if has_encoded_run(name):
            return False
        codes += measure_codes(name) + cost_of_invisible(name)
    text = " ".join(texts)
    found = measure_text(text)
    is_plain = found.symbols <= 64 + found.total // 3 and found.drawn <= 128 + found.total // 32
    return codes <= MAX_CODES and is_plain and has_alphabet(text) and _rare_share(text)


def find_class_names(key: str, value: Any) -> list[str] | None:
    """Return the class names of a list or a numbered mapping under a key for them, or None."""
    if not words_of(key) & _CLASSES or not isinstance(value, Mapping | list):
        return None
    names: Any = value
    if isinstance(value, Mapping):
        values = value.values()
        is_numbered = all(map(_is_number, value))
        names = values if is_numbered else value if all(map(_is_number, values)) else ()
    return list(names) if are_class_names(names) else None


def _is_number(value: Any) -> bool:
    is_digits = isinstance(value, str) and _NUMBER.fullmatch(value) is not None
    return (type(value) is int and abs(value) < 10**9) or is_digits


def measure_codes(name: str) -> int:
    """Return how many characters of a name look encoded."""
    return sum(len(part) for part in _PART.findall(name) if is_encoded_part(part))


def has_encoded_run(name: str) -> bool:
    """Return whether a name has a run of letters and digits too long and irregular for a name."""
    return any(len(p) > MAX_NAME_RUN and is_encoded_part(p) for p in _PART.findall(name))


def _rare_share(text: str) -> bool:
    return text.isascii() or sum(map(_is_rare, text)) * 6 <= len(text)


_DOCUMENT_RUNS = 1024
_DOCUMENT_DIGESTS = 64
_DIGEST = re.compile(r"\b(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\b")
_NAME = re.compile(r"[^\W\d_]{3}")
_DOCUMENT_URL_RUNS = 4096


def find_document_fault(text: str) -> str | None:
    """Return what a text contains that people do not read, as "contains …", or None."""
    if re.search("[\x00-\x08\x0e-\x1f\x7f]", text):
        return "contains control characters"
    if _DATA.search(text) and re.search(r"data:[^\s]{0,99},[^\s]{64}", text):
        return "contains a data: URL"
    if is_drawing(text):
        return "contains a drawing (SVG elements or colors)"
    found = measure_text(_without_digests(text))
    if found.longest_link > MAX_URL:
        return f"contains a link longer than {MAX_URL:,} characters"
    in_links = sum(
        len(part)
        for match in URL.finditer(text)
        for part in _PART.findall(match[0])
        if len(part) > _WORD and is_encoded_part(part)
    )
    share = found.irregular <= min(found.total // 10 + 512, 16_384)
    if not share or found.encoded > _DOCUMENT_RUNS or in_links > _DOCUMENT_URL_RUNS:
        return "contains encoded data"
    if found.digits > found.total // 3 + 1024 or found.numbers > 2 * MAX_NUMBERS:
        return "contains a list of numbers"
    words = found.total + found.links
    is_art = found.symbols > words // 2 + 1024 or found.drawn > found.total // 16 + 1024
    if is_art or not has_alphabet(text):
        return "contains a drawing made of characters"
    return None


def _without_digests(text: str) -> str:
    """Return a text without the first 64 digests that each stand in a line with a name."""
    count = 0

    def is_named(found: re.Match[str]) -> bool:
        start, end = text.rfind("\n", 0, found.start()) + 1, text.find("\n", found.end())
        line = text[start : found.start()] + " " + text[found.end() : end if end >= 0 else None]
        return _NAME.search(line) is not None and not _DIGEST.search(line)

    def replace(found: re.Match[str]) -> str:
        nonlocal count
        if count == _DOCUMENT_DIGESTS or not is_named(found):
            return found[0]
        count += 1
        return " "

    return _DIGEST.sub(replace, text)
