"""Dataset layouts, one file each, and the codec, the only place that touches pixels on disk.

A layout is one file with a class that keeps the contract of
`curate.core.protocols.Source`, and one line in `LAYOUTS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source
from curate.core.registry import Plugin, Registry
from curate.layouts.access.address import is_address, is_hub_place
from curate.layouts.access.folder import Folder, LocalFolder
from curate.layouts.access.remote import RemoteFolder
from curate.layouts.access.selection import select_files, select_remote_files

LAYOUTS = Registry(
    "layout",
    [
        (
            "webdataset",
            Plugin(
                "curate.layouts.webdataset.read:WebDataset",
                "tar files of samples; also one file, or a pattern such as shard-{000..127}.tar",
            ),
        ),
        (
            "parquet",
            Plugin(
                "curate.layouts.tables.parquet:Parquet",
                "Parquet files with columns of {bytes, path}, as on the Hugging Face Hub",
            ),
        ),
        (
            "arrow",
            Plugin(
                "curate.layouts.tables.arrow:ArrowDataset",
                "a dataset that the datasets library has saved by save_to_disk",
            ),
        ),
        (
            "imagefolder",
            Plugin(
                "curate.layouts.imagefolder:ImageFolder",
                "split/class/image, class/image or flat, any depth",
            ),
        ),
        (
            "hf_folder",
            Plugin(
                "curate.layouts.hf_folder.read:HfFolder",
                "images and metadata.jsonl, .csv or .parquet, as on the Hugging Face Hub",
            ),
        ),
        (
            "coco",
            Plugin("curate.layouts.coco.read:Coco", "images and any number of COCO JSON files"),
        ),
        (
            "voc",
            Plugin("curate.layouts.voc.read:Voc", "Pascal VOC: Annotations, ImageSets, JPEGImages"),
        ),
        (
            "yolo",
            Plugin("curate.layouts.yolo.read:Yolo", "Ultralytics: data.yaml, images and labels"),
        ),
    ],
)

_SHARDS = (".tar", ".tar.gz", ".tgz", ".parquet")

FALLBACK = "imagefolder"
"""The layout of a folder that no other layout recognises."""


def open_source(place: str, layout: str = "auto", name: str = "SOURCE") -> Source:
    """Open a dataset for reading.

    Args:
        place: where it is.
        layout: a name in `LAYOUTS`, or ``auto`` to recognise it.
        name: what messages call it.

    Raises:
        UsageError: if there is no such layout.
        DataError: if there is no dataset of that layout, or it could have several.
    """
    folder = open_folder(place, name)
    if layout == "auto":
        layout, _ = recognise(folder)
    return cast(Source, LAYOUTS.resolve(layout)(folder))


def open_folder(place: str, name: str = "SOURCE") -> Folder:
    """Open the place where a dataset is: a folder, a shard, or a pattern that names shards.

    Args:
        place: a path, or an address such as ``s3://bucket/photos``.
        name: what messages call it.

    Raises:
        UsageError: if it is an address that cannot be used, or one of the Hub.
        DataError: if there is none.
        SetupError: if a remote storage does not answer.
    """
    if is_hub_place(place):
        from curate.layouts.access.hub import describe_copying  # brings pyarrow

        raise UsageError(f"{name} {place!r} cannot be read from afar; {describe_copying(place)}")
    names_files = "{" in place or place.lower().endswith(_SHARDS)
    if is_address(place):
        return select_remote_files(place, name) if names_files else RemoteFolder(place, name)
    path = Path(place)
    if names_files and not path.is_dir():
        return select_files(place, name)
    return LocalFolder(path, name)


def recognise(folder: Folder) -> tuple[str, str]:
    """Tell a dataset's layout, and by what.

    Raises:
        DataError: if it could have several layouts; names the option that decides.
    """
    seen: list[tuple[str, str]] = []
    for layout in LAYOUTS:
        if layout != FALLBACK and (why := LAYOUTS.resolve(layout).recognise(folder)):
            seen.append((layout, why))
    if len(seen) > 1:
        ways = " or ".join(f"--format {layout} ({why})" for layout, why in seen)
        raise DataError(f"{folder.name} could have several layouts; say {ways}")
    return seen[0] if seen else (FALLBACK, LAYOUTS.resolve(FALLBACK).recognise(folder))


def describe(source: Source) -> str:
    """One line about what a dataset was taken for, and by what, for a person."""
    folder = open_folder(source.place)
    why = LAYOUTS.resolve(source.layout).recognise(folder)
    return f"SOURCE is {source.layout}: {why or 'as asked'}."
