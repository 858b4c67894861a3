"""Take over what stands beside the images, if it holds no picture, and list what does not go."""

from __future__ import annotations

import heapq
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, WithheldError
from curate.core.protocols import LabelMapSource, SidecarFile, SidecarSource, Source
from curate.layouts.files import is_image_name
from curate.layouts.sidecars import find_pictures
from curate.manifest import store
from curate.pipeline.gathering import move_files, rebuild
from curate.pipeline.shard import DATA
from curate.pipeline.workspace import Workspace
from curate.storage.atomic import sync_file, sync_folder


def carry(workspace: Workspace, source: Source) -> dict[str, int]:
    """Copy annotations, rebuild containers, and list every file that is not an image.

    What is looked at is the copy, which SOURCE can no longer change.

    Returns:
        Counts of files ``carried``, ``rebuilt`` and ``left_out``.

    Raises:
        SourceChangedError: if a file that was listed is gone.
        SetupError: if SOURCE cannot be read.
    """

    def produce(copies: Path) -> Iterator[dict[str, Any]]:
        copied = _carry_all(source, copies)
        return heapq.merge(copied, rebuild(workspace, source), key=path_of)

    counts = list_others(workspace, produce)
    return {fate: counts[fate] for fate in ("carried", "left_out", "rebuilt")}


def list_others(
    workspace: Workspace, produce: Callable[[Path], Iterator[dict[str, Any]]]
) -> Counter[str]:
    """Put files beside the images, and list them.

    The copies move to their place when the list of them does: a later attempt takes
    back what an interrupted one has moved.

    Args:
        workspace: the run's work folder.
        produce: writes copies below a folder and yields a line for each file, by path.

    Returns:
        How many files met each fate.
    """
    listing = workspace.final / "manifest" / store.OTHERS
    data = workspace.final / DATA
    _take_back(listing, data)
    copies = workspace.staging / "others"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True)
    counts: Counter[str] = Counter()
    partial = workspace.staging / store.OTHERS
    with partial.open("w", encoding="utf-8") as file:
        for line in produce(copies):
            counts[fate_of(line)] += 1
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    sync_file(partial)
    partial.rename(listing)
    sync_folder(listing.parent)
    move_files(copies, data)
    return counts


def path_of(line: dict[str, Any]) -> bytes:
    """What lines are sorted by."""
    return str(line["path"]).encode()


def fate_of(line: dict[str, Any]) -> str:
    """What became of a file: ``carried``, ``edited``, ``rebuilt`` or ``left_out``."""
    if line["carried"]:
        return "carried"
    return next((fate for fate in ("edited", "rebuilt") if line.get(fate)), "left_out")


def _carry_all(source: Source, copies: Path) -> Iterator[dict[str, Any]]:
    if isinstance(source, SidecarSource):
        for other in source.sidecars():
            yield _carry_one(source, other, copies)


def _carry_one(source: SidecarSource, other: SidecarFile, copies: Path) -> dict[str, Any]:
    """Copy one file, if it is an annotation and holds no picture; returns its line."""
    line: dict[str, Any] = {"path": other.uri, "carried": False}
    if not other.copied:
        return line | {"reason": other.reason}
    target = copies / other.path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open_sidecar(other) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        reason = _find_pictures(source, other, target)
    except WithheldError as error:
        reason = f"it cannot be read: {error.detail}"
    if reason is not None:
        target.unlink(missing_ok=True)
        return line | {"reason": reason}
    return line | {
        "carried": True,
        "sha256": store.digest_file(target),
        "bytes": target.stat().st_size,
    }


def _find_pictures(source: SidecarSource, other: SidecarFile, copy: Path) -> str | None:
    """Why a copy may hold pictures; a map of labels is proven anew from the copy."""
    path = str(other.path)
    is_map = (
        is_image_name(path)
        and isinstance(source, LabelMapSource)
        and source.is_label_map(path, copy.read_bytes())
    )
    return None if is_map else find_pictures(copy)


def _take_back(listing: Path, data: Path) -> None:
    """Remove what an interrupted attempt has carried; its list goes last."""
    try:
        with listing.open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if fate_of(line) in ("carried", "edited"):
                    (data / line["path"]).unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{listing} is damaged; remove the OUT and run again") from None
    listing.unlink()
