"""Count texts and file names that look like names of people, for whoever asks.

A plain pattern, no model: two or three capitalised words in a row, joined by
spaces in texts and by ``_``, ``-`` or spaces in file names. It finds "New York"
and misses "madonna"; it tells where to look, not what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curate.manifest import layout
from curate.manifest.others import iter_others

_WORD = r"[^\W\d_a-zß-öø-ÿ][^\W\d_A-ZÀ-ÖØ-Þ]+"
_TEXT = re.compile(rf"\b{_WORD}(?: (?:[A-Z]\. ?)?{_WORD}){{1,2}}\b")
_FILE = re.compile(rf"(?:^|[\W_]){_WORD}(?:[ _-](?:[A-Z]\.?[ _-])?{_WORD}){{1,2}}(?:$|[\W\d_])")
_TEXT_SUFFIXES = frozenset({".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml"})
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Names:
    """How many look like names of people.

    Args:
        texts: finds in the texts of carried annotations.
        files: names of written images.
        examples: a few of both, as they stand there.
    """

    texts: int
    files: int
    examples: tuple[str, ...]


def count_names(out: Path) -> Names:
    """Look over a finished OUT's image names and the texts carried with them.

    Texts inside containers (tar, Parquet, Arrow) are not looked over.

    Raises:
        ManifestError: if the manifest cannot be read.
        OSError: if a carried file cannot be read.
    """
    manifest = out / layout.MANIFEST
    files, texts, examples = 0, 0, list[str]()
    for path in layout.iter_outputs(manifest):
        if _FILE.search(PurePosixPath(path).stem):
            files += 1
            examples += [PurePosixPath(path).name] if files <= _EXAMPLES else []
    for other in iter_others(manifest):
        if other.carried and PurePosixPath(other.path).suffix.lower() in _TEXT_SUFFIXES:
            for found in _iter_finds(_iter_lines(out / layout.DATA / other.path)):
                texts += 1
                examples += [found] if texts <= _EXAMPLES else []
    return Names(texts, files, tuple(examples))


def _iter_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        while block := file.readline(1 << 16):  # a whole JSON file can be one line
            yield block


def _iter_finds(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from (match.group() for match in _TEXT.finditer(line))
