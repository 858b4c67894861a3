"""Possible names of people in the annotations and image names of an output (``--flag-captions``).

Two or three capitalized words in a row. A plain pattern, no model: it finds "New York" and misses
"madonna", and shows where to check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curate.core.records import escape_unprintable
from curate.manifest import files, store
from curate.manifest.others import iter_others
from curate.manifest.store import DATA

_WORD = r"[^\W\d_a-zß-öø-ÿ][^\W\d_A-ZÀ-ÖØ-Þ]+"
_TEXT = re.compile(rf"\b{_WORD}(?: (?:[A-Z]\. ?)?{_WORD}){{1,2}}\b")
_FILE = re.compile(rf"(?:^|[\W_]){_WORD}(?:[ _-](?:[A-Z]\.?[ _-])?{_WORD}){{1,2}}(?:$|[\W\d_])")
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
    """Possible names of people in a text."""
    return [match.group() for match in _TEXT.finditer(text) if _has_two_words(match.group())]


def is_name_of_file(stem: str) -> bool:
    """Whether a file name may be a name of a person; a repeated word, as of a class, is not."""
    return any(_has_two_words(match.group()) for match in _FILE.finditer(stem))


def _has_two_words(text: str) -> bool:
    return len(set(re.findall(_WORD, text))) > 1


def _iter_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        while block := file.readline(1 << 16):  # a whole JSON file can be one line
            yield block


def _iter_matches(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from find_names(line)
