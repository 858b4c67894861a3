"""Datasets whose images stand inside larger files, and what a run does to them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from curate.core.errors import WithheldError
from curate.core.protocols import SidecarFile, Source, iter_containers
from curate.layouts import open_source


def picture(number: int, size: int = 8) -> bytes:
    """A small PNG, another for every number."""
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], **header: object) -> Path:
    """Write a tar file as a person's machine would: with owners and times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.uname = len(data), 10**9, 1000, "jane"
            for key, value in header.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return path


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    """Names and bytes of all files in a tar, in order."""
    with tarfile.open(path) as tar:
        return [
            (info.name, stream.read())
            for info in tar
            if (stream := tar.extractfile(info)) is not None
        ]


def read_all(source: Source) -> dict[str, bytes]:
    """The bytes of every image that can be read, by id; the ids are checked on the way."""
    found: dict[str, bytes] = {}
    ids = []
    for record in source.records():
        assert source.find(record.id) == record
        ids.append(record.id)
        try:
            found[record.id] = source.read(record)
        except WithheldError:
            continue
    assert ids == sorted(set(ids), key=str.encode)
    return found


def rebuild(
    source: Source, outputs: Mapping[str, bytes], target: Path
) -> tuple[Source, list[SidecarFile]]:
    """Write every container anew, with the annotations beside; what stayed behind of them."""
    left: list[SidecarFile] = []
    for container in iter_containers(source):
        path = target / container
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w+b") as file:
            left += source.rebuild(container, outputs.get, file)
    for other in source.sidecars():
        if other.copied:
            path = target / other.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open_sidecar(other) as stream:
                path.write_bytes(stream.read())
    return open_source(str(target), source.layout, "OUT"), left
