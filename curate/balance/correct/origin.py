"""What SOURCE is: the output of a run, of an earlier correction, a dataset, or a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from curate.core.errors import DataError, UsageError
from curate.layouts.access.address import is_address
from curate.manifest import corrections, store
from curate.manifest.files import DATA, MANIFEST

TABLE = "table"
"""The layout of a table without images."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What SOURCE is.

    Args:
        place: where its images are; None of a table alone.
        layout: theirs, or ``auto``.
        run: the manifest of the run that has hidden their faces, or None.
        earlier: the manifest of the correction that made them, or None.
        is_obfuscated: whether a run has hidden the faces.
    """

    place: str | None
    layout: str
    run: Path | None = None
    earlier: Path | None = None
    is_obfuscated: bool = False

    @property
    def sha256(self) -> str | None:
        """Digest of what says how the images came about, or None."""
        if self.run is not None:
            return store.digest_file(self.run / store.RUN)
        if self.earlier is not None:
            return store.digest_file(self.earlier / corrections.FACTS)
        return None


def find_origin(source: str | None, layout: str) -> Origin:
    """Tell what SOURCE is.

    Raises:
        UsageError: if there is nothing.
        ManifestError: if it is the output of a run or a correction that cannot be read.
    """
    if source is None or is_table(source):
        return Origin(None, TABLE)
    if is_address(source):
        return Origin(source, layout)
    if not Path(source).exists():
        raise UsageError(f"SOURCE {source!r} does not exist")
    manifest = Path(source) / MANIFEST
    if (manifest / store.RUN).is_file():
        run = store.load_run(manifest)
        name = run["source"]["layout"]
        return Origin(str(Path(source) / DATA), name, run=manifest, is_obfuscated=True)
    if (manifest / corrections.FACTS).is_file():
        facts = corrections.load_facts(manifest)
        if not (Path(source) / DATA).is_dir():
            raise DataError(f"{source} is a list of corrections without images; give its SOURCE")
        return Origin(
            str(Path(source) / DATA),
            facts["source"]["layout"],
            earlier=manifest,
            is_obfuscated=facts["source"]["obfuscated"],
        )
    return Origin(source, layout)


def is_table(source: str) -> bool:
    """Whether SOURCE is a table of records, and not a dataset."""
    path = Path(source)
    return path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson") and path.is_file()
