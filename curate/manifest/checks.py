"""Checks of a manifest: its entries, counts and digests against each other and the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry, Outcome, Route
from curate.core.errors import ManifestError
from curate.core.geometry import Box, clip, covered
from curate.manifest import store
from curate.manifest.files import DATA, MANIFEST, PICTURE, ROOT_FILES, Problem, stays_inside
from curate.manifest.others import OUTCOMES, Other, iter_others

_MAX_FURTHER = 10_000  # lines of others.jsonl that run.json does not count
_COUNTED = (*OUTCOMES, "included", "withheld")

Read = Callable[[str], bytes]
"""Reads an output image by its path in the manifest; raises OSError."""

Inspect = Callable[[ManifestEntry, bytes], list[str]]
"""Finds leaks in one output image; one line each."""

Digest = Callable[[str], tuple[str, int]]
"""Returns the SHA-256 and the size of a file by its path below ``data/``; raises OSError."""

FindExcess = Callable[[Path], str | None]
"""Returns why a text or table of the manifest is not what curate writes, or None."""


def check_run(manifest: Path, run: Mapping[str, Any], recipe_sha256: str) -> Iterator[Problem]:
    """Check ``run.json`` against the records that it describes.

    Args:
        manifest: the manifest's folder.
        run: the content of its ``run.json``, from `store.load_run`.
        recipe_sha256: digest of the recipe in it, computed again.

    Raises:
        ManifestError: if a part or the list of other files cannot be read.
    """
    records = manifest / store.RECORDS_FOLDER
    tally = store.Tally()
    yield from _check_order(records, tally)
    outcomes: Counter[str] = Counter()
    recorded = sum(run["others"].get(name, 0) for name in OUTCOMES)
    for number, other in enumerate(iter_others(manifest)):
        if number > recorded + _MAX_FURTHER:
            raise ManifestError(
                f"{manifest / store.OTHERS} has more than {_MAX_FURTHER:,} lines over the "
                f"{recorded:,} files that {store.RUN} counts; restore it, or run again"
            )
        outcomes[other.outcome] += 1
        outcomes["included"] += other.included
        outcomes["withheld"] += other.withheld
    values = {
        "recipe_sha256": (run["recipe_sha256"], recipe_sha256),
        "counts": (run["counts"], tally.to_dict()),
        "records.sha256": (run["records"]["sha256"], store.digest_parts(records)),
        "records.parts": (run["records"]["parts"], sum(1 for _ in store.iter_parts(records))),
        "source.sha256": (run["source"]["sha256"], store.digest_sources(records)),
        **{f"others.{name}": (run["others"].get(name, 0), outcomes[name]) for name in _COUNTED},
        "others.sha256": (run["others"]["sha256"], store.digest_regular(manifest / store.OTHERS)),
    }
    for name, pair in values.items():
        for detail in describe_differences(name, *pair):
            yield Problem("manifest", f"{MANIFEST}/{store.RUN}", detail)


def describe_differences(name: str, recorded: Any, found: Any) -> Iterator[str]:
    """Describe where a recorded value differs from the one found; a line for each inner value.

    Args:
        name: path of the value in the file, such as ``counts``.
        recorded: the value in the file; objects are compared key by key.
        found: the value computed again.
    """
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        for key in sorted({*recorded, *found}):
            inner = recorded.get(key, "absent"), found.get(key, "absent")
            yield from describe_differences(f"{name}.{key}", *inner)
    elif recorded != found:
        yield f"{name} is {_show(found)}, but is recorded as {_show(recorded)}"


def _show(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def _check_order(records: Path, tally: store.Tally) -> Iterator[Problem]:
    """Check that ids and output paths ascend, so that none is duplicated; counts the entries."""
    last_id = last_path = ""
    for entry in store.iter_entries(records):
        tally.add(entry)
        path = entry.output_path
        if entry.id <= last_id:
            yield Problem(
                "manifest", "manifest/records", f"{entry.id!r} is out of order or duplicated"
            )
        if path is not None and path <= last_path:
            yield Problem("manifest", "manifest/records", f"{path!r} is out of order or duplicated")
        last_id, last_path = entry.id, last_path if path is None else path


def check_entry(entry: ManifestEntry, read: Read, inspect: Inspect) -> Iterator[Problem]:
    """Check one entry by itself and, if it is written, its output image."""
    faults = list(iter_faults(entry))
    for fault in faults:
        yield Problem("manifest", entry.id, fault)
    if faults or entry.outcome is Outcome.WITHHELD:
        return
    path = f"{DATA}/{entry.output_path}"
    try:
        data = read(str(entry.output_path))
    except OSError as error:
        yield Problem("missing", path, error.strerror or "cannot be read")
        return
    if len(data) != entry.output_bytes or store.digest_bytes(data) != entry.output_sha256:
        yield Problem("changed", path, "its bytes differ from the manifest")
    for leak in inspect(entry, data):
        yield Problem("leak", path, leak)


def iter_faults(entry: ManifestEntry) -> Iterator[str]:
    """Contradictions in an entry, one line each."""
    if entry.source_sha256 is not None and not stays_inside(entry.source_path):
        yield f"its source path is {entry.source_path!r}"
    if entry.outcome is Outcome.WITHHELD:
        if (entry.output_path, entry.output_sha256, entry.output_bytes) != (None, None, None):
            yield "is withheld, but has an output"
        if not entry.reason:
            yield "is withheld without a reason"
        return
    for name in _NEEDED:
        if getattr(entry, name) is None:
            yield f"is written without {name}"
    if (entry.pixels_sha256 is None) != (entry.route is Route.COPIED):
        yield f"pixels_sha256 does not match its route {entry.route}"
    if entry.output_path is not None and not stays_inside(entry.output_path):
        yield f"its output path is {entry.output_path!r}"
    if any(side is not None and side < 1 for side in (entry.width, entry.height)):
        yield f"its size is {entry.width}×{entry.height}"
    if entry.blurred_share is not None and not 0 <= entry.blurred_share <= 1:
        yield f"its blurred_share is {entry.blurred_share}"
    yield from _iter_face_faults(entry)


_NEEDED = (
    *("source_sha256", "source_bytes", "width", "height", "mode", "orientation", "route"),
    *("blurred_share", "output_path", "output_sha256", "output_bytes"),
)


def _iter_face_faults(entry: ManifestEntry) -> Iterator[str]:
    if len(entry.faces) != len(entry.hidden):
        yield f"it has {len(entry.faces)} faces and {len(entry.hidden)} hidden regions"
        return
    for face, hidden in zip(entry.faces, entry.hidden, strict=True):
        frames = face.frames
        if not frames or frames[0] < 0 or list(frames) != sorted(set(frames)):
            yield f"face {face.box.xyxy} is in the frames {list(frames)}"
        # Later frames may be larger than the first; the comparison with SOURCE knows their sizes.
        width, height = (entry.width or 0, entry.height or 0) if 0 in frames else (2**31, 2**31)
        if not _is_whole(hidden, width, height):
            yield f"hidden region {hidden.xyxy} is not whole pixels of the image"
        inside = clip(face.box, width, height)
        if covered(inside, hidden) < 1 and not inside.is_empty:
            yield f"face {face.box.xyxy} is not inside its hidden region"


def _is_whole(box: Box, width: int, height: int) -> bool:
    return (
        0 <= box.x0 < box.x1 <= width
        and 0 <= box.y0 < box.y1 <= height
        and all(value.is_integer() for value in map(float, box.xyxy))
    )


def check_texts(out: Path, find_excess: FindExcess) -> Iterator[Problem]:
    """Check the texts of the manifest, and those beside it, for values that do not belong there."""
    names = [f"{MANIFEST}/{name}" for name in (store.RUN, store.OTHERS, store.LOG)]
    for name in (*names, *sorted(ROOT_FILES - {PICTURE})):
        if (out / name).is_file() and (reason := find_excess(out / name)):
            yield Problem("leak", name, reason)


def check_others(manifest: Path, digest: Digest) -> Iterator[Problem]:
    """Check the digests of all other files of an output.

    Args:
        manifest: the manifest's folder.
        digest: reads a file of the output.
    """
    for other in iter_others(manifest):
        if other.is_there:
            yield from _check_other(digest, other)


def _check_other(digest: Digest, other: Other) -> Iterator[Problem]:
    path = f"{DATA}/{other.path}"
    if not stays_inside(other.path):
        yield Problem("manifest", f"{MANIFEST}/{store.OTHERS}", f"lists the path {other.path!r}")
        return
    try:
        found = digest(other.path)
    except OSError as error:
        yield Problem("missing", path, error.strerror or "cannot be read")
        return
    if found != (other.sha256, other.bytes):
        yield Problem("changed", path, "its bytes differ from the manifest")
