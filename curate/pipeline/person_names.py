"""Possible names of people in the annotations and image names of an output (``--flag-captions``).

Two or three capitalized words in a row. A plain pattern, no model: it finds "Central Park" and
misses "madonna", and shows where to check. In texts, names of image files are not counted; of image
names, those are not that repeat a phrase or a number, as class names do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curate.core.records import escape_unprintable
from curate.layouts.files import IMAGE_SUFFIXES
from curate.manifest import files, store
from curate.manifest.others import iter_others
from curate.manifest.store import DATA

_WORD = r"[^\W\d_a-zß-öø-ÿ][^\W\d_A-ZÀ-ÖØ-Þ]+"
_TEXT = re.compile(rf"\b{_WORD}(?: (?:[A-Z]\. ?)?{_WORD}){{1,2}}\b")
_FILE = re.compile(rf"(?:^|[\W_]){_WORD}(?:[ _-](?:[A-Z]\.?[ _-])?{_WORD}){{1,2}}(?:$|[\W\d_])")
_NO_FIRST_NAMES = frozenset(
    {
        *("New", "North", "South", "East", "West", "Los", "Las", "San", "Santa", "Saint", "United"),
        *("Great", "Mount", "Lake", "Fort", "Port", "The", "This", "That", "Two", "Three", "Four"),
    }
)
"""Words that start the names of places and sentences, and no name of a person."""
_IS_FILE = re.compile(
    rf"[ _-]*\(?\d*\)?(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})\b", re.IGNORECASE
)
_CLASS_NUMBER = re.compile(r"(\d+)_.*_\1(?:_|$)", re.DOTALL)
_CLASS_PHRASE = re.compile(rf"({_WORD}[ _-]{_WORD}).*\1")
_TEXT_SUFFIXES = frozenset({".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml"})
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Names:
    """Texts and file names that may be names of people.

    Args:
        texts: matches in copied annotation files.
        files: names of written images.
        examples: a few of both.
    """

    texts: int
    files: int
    examples: tuple[str, ...]

    def to_text(self) -> str:
        """The counts in one line."""
        such = (
            f", such as {'; '.join(map(escape_unprintable, self.examples))}"
            if self.examples
            else ""
        )
        return (
            f"May be names of people: {self.texts:,} texts in copied annotations, "
            f"{self.files:,} image names{such}."
        )


def count_names(out: Path) -> Names:
    """Count possible names of people in the image names and copied annotations of an output.

    Annotations inside containers (tar, Parquet, Arrow) are not searched.

    Raises:
        ManifestError: if the manifest cannot be read.
        OSError: if a copied file cannot be read.
    """
    manifest = out / store.MANIFEST
    names, texts, examples = 0, 0, list[str]()
    for path in files.iter_outputs(manifest):
        if is_name_of_file(PurePosixPath(path).stem):
            names += 1
            examples += [PurePosixPath(path).name] if names <= _EXAMPLES else []
    for other in iter_others(manifest):
        if other.carried and PurePosixPath(other.path).suffix.lower() in _TEXT_SUFFIXES:
            for found in _iter_matches(_iter_lines(out / DATA / other.path)):
                texts += 1
                examples += [found] if texts <= _EXAMPLES else []
    return Names(texts, names, tuple(examples))


def find_names(text: str) -> list[str]:
    """Possible names of people in a text; file names of images are none."""
    return [
        match.group()
        for match in _TEXT.finditer(text)
        if _is_name(match.group()) and not _IS_FILE.match(text, match.end())
    ]


def is_name_of_file(stem: str) -> bool:
    """Whether a file name may be a name of a person.

    One that repeats a phrase, or starts with a number that it repeats, has the name of a class.
    """
    if _CLASS_NUMBER.match(stem) or _CLASS_PHRASE.search(stem):
        return False
    return any(_is_name(match.group()) for match in _FILE.finditer(stem))


def _is_name(text: str) -> bool:
    """Whether a match has two different words after those that start no name."""
    words = re.findall(_WORD, text)
    while words and words[0] in _NO_FIRST_NAMES:
        del words[0]
    return len(set(words)) > 1


def _iter_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        while block := file.readline(1 << 16):  # a whole JSON file can be one line
            yield block


def _iter_matches(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from find_names(line)
