"""What the manifest of the obfuscated dataset says of the paired images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.core.errors import DataError, ManifestError
from curate.impact.pairing import Pairing
from curate.impact.predictions.strata import Faces
from curate.manifest import store
from curate.manifest.files import MANIFEST

Digests = Sequence[str | None] | None


def index_manifest(out: Path, pairing: Pairing) -> Mapping[str, Any]:
    """Read a manifest into the index; returns its ``run.json``.

    Args:
        out: an output folder, or its manifest.
        pairing: the index.

    Raises:
        ManifestError: if the manifest is absent, damaged or not whole.
    """
    manifest, run = open_manifest(out)
    pairing.add_entries(store.iter_entries(manifest / store.RECORDS_FOLDER))
    return run


def open_manifest(out: Path) -> tuple[Path, Mapping[str, Any]]:
    """Find a manifest, and make sure that it is whole.

    Args:
        out: an output folder, or its manifest.

    Returns:
        The manifest's folder and its ``run.json``.

    Raises:
        ManifestError: if the manifest is absent, damaged or not whole.
    """
    manifest = out / MANIFEST if (out / MANIFEST).is_dir() else out
    run = store.load_run(manifest)
    records = manifest / store.RECORDS_FOLDER
    if store.digest_parts(records) != run["records"]["sha256"]:
        raise ManifestError(f"{records} is not what {manifest / store.RUN} says; it was changed")
    return manifest, run


def load_faces(out: Path, pairing: Pairing, pairs: int) -> Faces:
    """Blurred share and number of faces, by place.

    Args:
        out: the output folder, for messages.
        pairing: the index, with the manifest in it.
        pairs: how many places there are.

    Raises:
        DataError: if the manifest is of another dataset than the predictions.
    """
    shares, counts = np.zeros(pairs), np.zeros(pairs, dtype=np.int64)
    missing, first = 0, ""
    for place, entry in enumerate(pairing.iter_recorded()):
        if entry.withheld is None:
            missing, first = missing + 1, first or entry.id
        elif entry.withheld:
            raise DataError(
                f"{describe_another(out)}: it withheld {entry.id!r}, of which there is an "
                "obfuscated prediction"
            )
        else:
            shares[place], counts[place] = entry.share or 0.0, entry.faces or 0
    if missing:
        raise DataError(
            f"{describe_another(out)}: it does not know {missing:,} of {pairs:,} images, "
            f"such as {first!r}"
        )
    return Faces(shares, counts)


def check_digests(out: Path, pairing: Pairing, original: Digests, obfuscated: Digests) -> None:
    """Compare the files that were predicted on with those that the manifest knows.

    Args:
        out: the output folder, for messages.
        pairing: the index, with the manifest in it.
        original: SHA-256 of the original files in hexadecimal, by place, if they are said.
        obfuscated: the same of the obfuscated files.

    Raises:
        DataError: if one differs.
    """
    if original is None and obfuscated is None:
        return
    for place, entry in enumerate(pairing.iter_recorded()):
        for name, said, recorded in (
            ("original", original, entry.source),
            ("obfuscated", obfuscated, entry.output),
        ):
            digest = said[place] if said is not None else None
            if digest is not None and digest.lower() != recorded:
                raise DataError(
                    f"{describe_another(out)}: the {name} file of {entry.id!r} has another SHA-256"
                )


def describe_another(out: Path) -> str:
    """What is wrong with a manifest that does not know these images."""
    return f"{out} has the manifest of another dataset"
