"""Characters of texts that nobody sees: white space, joiners, tags, marks without end.

Scripts and emoji need some of them; any others could hold anything in an ordinary text.
"""

from __future__ import annotations

import re
import unicodedata

_IGNORED = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U0010ffff"
)
"""Default-ignorable characters of Unicode, those without a meaning, and private ones."""

_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Combining marks that fit any letter."""

_SPACES = "\t\x0b\x0c\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space other than a space and a line end."""

_SUSPECT = re.compile(rf"[{_IGNORED}{_MARKS}{_SPACES}\r]|  | \n|\n |\n\n\n")
_FLAG = "\U0001f3f4(?:\U000e0067\U000e0062(?:{})\U000e007f)".format(
    "|".join(
        "".join(chr(0xE0000 + ord(letter)) for letter in name) for name in ("eng", "sct", "wls")
    )
)
_JOINED = "\u0600-\u0dff\u1780-\u17ff\u1800-\u18aa"
_EMOJI = "\u200d\ufe0f\u20e3\u2190-\u2bff\u3030\u303d\u3297\u3299\xa9\xae#*0-9\U0001f000-\U0001faff"
_NEEDED = re.compile(
    rf"{_FLAG}|(?<=[{_EMOJI}])[\ufe0e\ufe0f](?![\ufe0e\ufe0f])"
    rf"|(?<=[\ufe0f\u2190-\u2bff\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])"
    rf"|(?<=[{_JOINED}])[\u200c\u200d](?=[{_JOINED}])|(?<=[\u1820-\u18aa])[\u180b-\u180d]"
)
_COMMON = "\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_SINGLE = re.compile(rf"(?<![{_IGNORED}])[{_COMMON}](?![{_IGNORED}])")
_IGNORED_RUN = re.compile(f"[{_IGNORED}]")
_MARK = re.compile(f"[{_MARKS}]")
_MARK_RUN = re.compile(f"([{_MARKS}]{{2}})[{_MARKS}]+")
_SPACE_RUN = re.compile(rf"[ \n\r{_SPACES}]+")
_LINE_ENDS = re.compile(r"(?:\r?\n){1,2}")

_HIDDEN = 8  # units of a character that is not needed
_MAX_COMMON = 64  # characters that direct or break lines in a document
_MAX_MARKS = 8  # distinct marks of a document
_MAX_INDENT = 64
_MAX_BLANK = 3  # line ends in a row


def cost_of_invisible(text: str) -> int:
    """Return about how many bits the characters of a text that nobody sees contain."""
    if not _SUSPECT.search(text):
        return 0
    units = 0
    if _IGNORED_RUN.search(text):
        rest = _NEEDED.sub("", text)
        units += 2 * (len(text) - len(rest)) + _HIDDEN * len(_IGNORED_RUN.findall(rest))
    if _MARK.search(text):
        units += _HIDDEN * len(_MARK.findall(unicodedata.normalize("NFC", text)))
    has_both = "\r\n" in text and re.search(r"(?<!\r)\n", text) is not None
    for run in _SPACE_RUN.findall(text):
        if run == " " or (not has_both and _LINE_ENDS.fullmatch(run)):
            continue
        units += 4 if len(set(run)) == 1 else 2 * len(run) + 2
    return units


def clean_document(text: str) -> tuple[str, int]:
    """Return a document without the invisible characters that no script needs, and their number.

    Kept are one joiner or variation selector where its neighbors need it, 64 characters that
    direct or break lines, two marks in a row and up to eight different ones, indentation up to
    64 of one kind, and up to two blank lines. All lines have the end of the first one.
    """
    end = "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"
    plain = _clean_spaces(_clean_marks(_clean_ignored(text)))
    kept = plain.replace("\n", end) if end != "\n" else plain
    return kept, 0 if kept == text else max(1, len(text) - len(kept))


def _clean_ignored(text: str) -> str:
    if not _IGNORED_RUN.search(text):
        return text
    needed = {i for found in _NEEDED.finditer(text) for i in range(*found.span())}
    common = (found.start() for found in _SINGLE.finditer(text))
    needed |= {i for number, i in enumerate(common) if number < _MAX_COMMON}
    return "".join(
        letter
        for number, letter in enumerate(text)
        if number in needed or not _IGNORED_RUN.match(letter)
    )


def _clean_marks(text: str) -> str:
    if not _MARK.search(text):
        return text
    kept = _MARK_RUN.sub(r"\1", text)
    if len(set(_MARK.findall(unicodedata.normalize("NFC", kept)))) > _MAX_MARKS:
        kept = _MARK.sub("", kept)
    return kept


def _clean_spaces(text: str) -> str:
    lines = re.split(r"\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]", text)
    kept: list[str] = []
    blank = 0
    for line in lines:
        body = line.strip()
        blank = 0 if body else blank + 1
        if blank < _MAX_BLANK:
            kept.append(_indent_of(line) + _SPACE_RUN.sub(_fit_run, body) + _break_of(line))
    return "\n".join(kept)


def _indent_of(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())] if line.strip() else ""
    return indent[:_MAX_INDENT] if len(set(indent)) == 1 else " " * min(len(indent), _MAX_INDENT)


def _break_of(line: str) -> str:
    """Return the two spaces that break a line in Markdown."""
    return "  " if line.strip() and line.endswith("  ") else ""


def _fit_run(found: re.Match[str]) -> str:
    run = found[0]
    return run if len(set(run)) == 1 and len(run) <= _MAX_INDENT else " "
