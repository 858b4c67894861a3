"""Dataset layouts, one package each, recognized by their content.

A layout is a class that implements `curate.core.protocols.Source` and one line in
`LAYOUTS`; see the README of this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from curate.core.errors import DataError, SetupError, UsageError
from curate.core.protocols import Source
from curate.core.registry import Plugin, Registry
from curate.layouts.access.address import is_address, is_hub_uri
from curate.layouts.access.folder import Folder, LocalFolder
from curate.layouts.access.remote import RemoteFolder
from curate.layouts.access.selection import select_files, select_remote_files
from curate.layouts.archives import describe_no_images, refuse_cache
from curate.layouts.containers import find_loose_image
from curate.layouts.contents import refuse_without_images
from curate.layouts.voc.folders import find_folders
from curate.storage.errors import find_wrong_encoding

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
            Plugin("curate.layouts.voc.read:Voc", "Pascal VOC: images and an XML file of each"),
        ),
        (
            "yolo",
            Plugin("curate.layouts.yolo.read:Yolo", "Ultralytics: data.yaml, images and labels"),
        ),
    ],
)

_SHARDS = (".tar", ".tar.gz", ".tgz", ".parquet")

_ARCHIVES = "webdataset"
_VOC = "voc"

FALLBACK = "imagefolder"
"""Layout of a folder that no other layout recognizes."""


def open_source(
    uri: str, layout: str = "auto", name: str = "SOURCE", follow_links: bool | None = None
) -> Source:
    """Open a dataset for reading.

    Args:
        uri: path or URI of the dataset.
        layout: name in `LAYOUTS`, or ``auto`` to recognize it.
        name: name in messages.
        follow_links: whether symbolic links that point outside the dataset are followed; None
            for what `curate.layouts.access.folder.follow_links` permits.

    Raises:
        UsageError: if the layout is unknown.
        DataError: if the dataset does not exist, or matches several layouts.
        SetupError: if names of files are not read as UTF-8.
    """
    if reason := find_wrong_encoding():
        raise SetupError(reason)
    folder = open_folder(uri, name, follow_links)
    refuse_cache(folder, search=layout == "auto")
    if layout == "auto":
        layout, _ = recognize(folder)
    return cast(Source, LAYOUTS.resolve(layout)(folder))


def open_folder(uri: str, name: str = "SOURCE", follow_links: bool | None = None) -> Folder:
    """Open the files of a dataset: a folder, a shard, or a pattern that names shards.

    Args:
        uri: path, or URI such as ``s3://bucket/photos``.
        name: name in messages.
        follow_links: as for `open_source`.

    Raises:
        UsageError: if the URI is invalid, or names a dataset of the Hub.
        DataError: if it does not exist.
        SetupError: if a remote storage does not respond.
    """
    if is_hub_uri(uri):
        from curate.layouts.access.hub import describe_copying  # imports pyarrow

        raise UsageError(f"{name} {uri!r} cannot be streamed; {describe_copying(uri)}")
    names_files = "{" in uri or uri.lower().endswith(_SHARDS)
    if is_address(uri):
        return select_remote_files(uri, name) if names_files else RemoteFolder(uri, name)
    path = Path(uri)
    if names_files and not path.is_dir():
        return select_files(uri, name, follow_links)
    return LocalFolder(path, name, follow_links)


def recognize(folder: Folder) -> tuple[str, str]:
    """Return the layout of a dataset and the file or folder by which it is recognized.

    Raises:
        DataError: if it matches several layouts, or its images are in archives; names the
            option or the remedy.
    """
    seen: list[tuple[str, str]] = []
    for layout in LAYOUTS:
        if layout != FALLBACK and (why := LAYOUTS.resolve(layout).recognize(folder)):
            seen.append((layout, why))
    if len(seen) > 1:  # archives beside annotated images are their download
        seen = [found for found in seen if found[0] != _ARCHIVES]
    if len(seen) > 1 and not find_folders(folder).is_standard:  # exports have VOC files as well
        seen = [found for found in seen if found[0] != _VOC]
    elif seen and seen[0][0] == _ARCHIVES and (image := find_loose_image(folder)):
        seen.append((FALLBACK, image))
    if len(seen) > 1:
        ways = " or ".join(f"--format {layout} ({why})" for layout, why in seen)
        raise DataError(f"{folder.name} matches several layouts; use {ways}")
    if not seen:
        refuse_without_images(folder)
    return seen[0] if seen else (FALLBACK, LAYOUTS.resolve(FALLBACK).recognize(folder))


def explain_no_images(source: Source) -> str:
    """Describe in one line that a dataset has no images, and what may be the reason."""
    return describe_no_images(open_folder(source.uri, follow_links=source.follow_links))


def describe(source: Source) -> str:
    """Describe in one line which layout a dataset has, why, and which other one it may have."""
    folder = open_folder(source.uri, follow_links=source.follow_links)
    why = LAYOUTS.resolve(source.layout).recognize(folder)
    line, found = f"SOURCE is {source.layout}: {why or 'by --format'}.", find_folders(folder)
    if found.why and source.layout != _VOC:
        line += f" It has Pascal VOC files ({found.why}), which --format {_VOC} reads instead."
    elif found.has_classes and source.layout == _VOC:
        line += f" Folders are not read as classes; to do so, use --format {FALLBACK}."
    return line
