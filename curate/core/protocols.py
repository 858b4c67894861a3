"""Protocols of the plug-in parts: detectors, classifiers, obfuscators and dataset sources."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from curate.core.entries import Scalar
from curate.core.faces import Detection, Region
from curate.core.geometry import Box
from curate.core.records import ImageRecord

Pixels = npt.NDArray[np.uint8]
"""An upright RGB image, the input of detectors: H×W×3 uint8."""

Frame = npt.NDArray[Any]
"""Pixels as stored, the input of obfuscators: H×W or H×W×C, uint8 or uint16."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model used by a detector.

    Args:
        name: the detector's registered name.
        package: the package that contains the weights, or ``file``.
        version: that package's version.
        weights_sha256: digest of each weights file, by file name.
        backend: the library that ran the network, with its version.
    """

    name: str
    package: str
    version: str
    weights_sha256: Mapping[str, str]
    backend: str


class Detector(Protocol):
    """A face detector.

    The contract, tested for every detector: boxes are in pixels of the given
    image, clipped to it and non-empty; detections are sorted by descending
    confidence, then box; equal images give equal detections, alone or in a batch;
    images of any size ≥ 1×1 are accepted and not modified; failures raise, they
    never return an empty list.
    """

    name: str

    def detect(self, image: Pixels) -> list[Detection]:
        """Detect faces in one upright RGB image, H×W×3 uint8."""
        ...

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """Detect faces in several images, which may differ in size; one list per image."""
        ...

    def models(self) -> tuple[Model, ...]:
        """Return the models used, for the manifest."""
        ...


class Classifier(Protocol):
    """An image classifier.

    The contract, tested for every kind of model: equal images give equal scores,
    alone or in a batch, up to rounding; images of any size ≥ 1×1 are accepted and
    not modified; failures raise.
    """

    spec: str
    """The model as specified by the user, such as ``imagenet`` or ``onnx:model.onnx``."""

    classes: tuple[str, ...] | None
    """Class names in the order of the scores, or None if unknown."""

    def prepare(self, image: Pixels) -> npt.NDArray[np.float32]:
        """Preprocess one upright RGB image, H×W×3 uint8, to C×H×W float32."""
        ...

    def predict(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits, N×K float32, of N preprocessed images, N×C×H×W float32."""
        ...

    def features(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return penultimate features, N×D float32.

        Raises:
            UsageError: if this kind of model does not provide them.
        """
        ...

    def network(self) -> Any:
        """Return the ``torch.nn.Module``, in evaluation mode.

        Raises:
            UsageError: if there is none.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return the model's description for reports, as plain values without paths.

        Specification, digest of the weights, preprocessing steps, library versions,
        device and dtype.
        """
        ...


class Obfuscator(Protocol):
    """An obfuscation method.

    The contract, tested for every obfuscator: the input is not modified; the
    output has its shape and dtype; pixels outside ``reach`` equal the input's;
    and, unless ``keeps`` states otherwise, the output does not depend on any pixel
    inside a hidden region.
    """

    name: str
    version: str
    keeps: str
    """What of a face survives, in one sentence; ``nothing`` if the output is
    independent of every hidden pixel."""

    @property
    def parameters(self) -> Mapping[str, Scalar]:
        """Every option, for the manifest."""
        ...

    def apply(self, image: Frame, regions: Sequence[Region]) -> Frame:
        """Return a copy of ``image`` (H×W or H×W×C, uint8 or uint16) with the regions hidden."""
        ...

    def reach(self, regions: Sequence[Region], width: int, height: int) -> list[Box]:
        """Return whole-pixel boxes outside which ``apply`` changes nothing."""
        ...


DOCUMENT = "document"
"""Format of README, LICENSE and CITATION files."""

LABEL_MAP = "label_map"
"""Format of images whose pixels are class or segment ids."""


@dataclass(frozen=True, slots=True)
class SidecarFile:
    """A file of a dataset that is not an image.

    Args:
        path: path relative to the root of the dataset.
        uri: path by which the source opens the file.
        copied: whether `curate balance` copies the file; otherwise it is only listed.
        reason: why the file is not copied.
        format: format in which the layout reads and rewrites the file; empty for files that are
            not its own annotations.
    """

    path: PurePosixPath
    uri: str
    copied: bool
    reason: str = "not an annotation or image"
    format: str = ""

    @property
    def is_needed(self) -> bool:
        """Whether the file is an annotation of the layout, not a document or a label map."""
        return self.format not in ("", DOCUMENT, LABEL_MAP)


class Source(Protocol):
    """Images of a dataset in some layout, opened for reading only.

    The contract, tested for every layout: the same dataset gives the same records,
    sorted by the bytes of their ids, which are unique; malformed annotations are one
    clear `DataError`; a record can be read in another process than the one that listed it.

    What else a layout offers is stated by `AnnotatedSource`, `AliasedSource`,
    `SidecarSource` and `ContainerSource`; test with ``isinstance``.
    """

    layout: str
    """Registered name of the layout."""

    uri: str
    """Path or URI from which `curate.layouts.open_source` opens the dataset in any process."""

    follow_links: bool
    """Whether symbolic links that point outside the dataset are followed; `open_source` takes it
    as well."""

    def check(self, strict: bool = False) -> Iterator[str]:
        """Check the annotations before anything is done.

        Args:
            strict: whether malformed annotations are an error, because their values are
                needed; otherwise they are notes, since they are only copied.

        Yields:
            Notes for the user, one line each.

        Raises:
            DataError: if the images cannot be read, or ``strict`` and the annotations are
                malformed.
        """
        ...

    def records(self) -> Iterator[ImageRecord]:
        """Iterate over all images, streaming, sorted by id."""
        ...

    def find(self, record_id: str) -> ImageRecord | None:
        """Return the record with an id, or None; fast for ids in ascending order."""
        ...

    def read(self, record: ImageRecord) -> bytes:
        """Return the stored bytes of an image.

        Raises:
            WithheldError: if this image cannot be read because of a fault of its own.
            DataError: if the image no longer exists.
            SetupError: if the storage does not respond.
        """
        ...

    def stamp(self, record: ImageRecord) -> str:
        """Return a short text that changes when the stored bytes of an image change."""
        ...

    def size(self, record: ImageRecord) -> int | None:
        """Return the size of an image in bytes, or None where only reading it would tell."""
        ...


@runtime_checkable
class AnnotatedSource(Source, Protocol):
    """A dataset whose annotations describe the images beyond split and category."""

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over the rows of the annotations.

        Args:
            columns: columns to return; a layout may return more, but searches for no others.

        Yields:
            A record id and a row, in no particular order; several rows per record where
            the annotations describe several objects in it.

        Raises:
            DataError: if the annotations are malformed.
        """
        ...


@runtime_checkable
class AliasedSource(Source, Protocol):
    """A dataset whose images have other names than their record ids."""

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Iterate over other names by which a table may refer to an image, with the record id.

        An alias of several records is ambiguous and refers to none of them.
        """
        ...


@runtime_checkable
class SidecarSource(Source, Protocol):
    """A dataset with files beside the images: annotations, and files that are left out."""

    def sidecars(self) -> Iterator[SidecarFile]:
        """Iterate over all files that contain no image of the dataset, sorted by path."""
        ...

    def open_sidecar(self, file: SidecarFile) -> BinaryIO:
        """Open one of `sidecars` for reading."""
        ...

    def rewrite_sidecar(
        self, file: SidecarFile, opened: BinaryIO, target: BinaryIO, limits: Any
    ) -> None:
        """Write one of `sidecars` that has a format again from its parsed values.

        Args:
            file: one of `sidecars`.
            opened: its content, seekable.
            target: file to write to.
            limits: `curate.layouts.sidecars.values.Limits` on the values.

        Raises:
            DataError: if it cannot be parsed.
        """
        ...


@runtime_checkable
class ContainerSource(Source, Protocol):
    """A dataset whose images are stored inside larger files (shards), which are rewritten."""

    def containers(self) -> Iterator[str]:
        """Iterate over the paths of the files that contain images, sorted."""
        ...

    def rebuild(
        self,
        container: str,
        outputs: Callable[[str], bytes | None],
        target: BinaryIO,
        limits: Any,
    ) -> Iterator[SidecarFile]:
        """Rewrite a container with obfuscated images; annotations are kept, in order.

        Args:
            container: one of `containers`.
            outputs: returns the output bytes for a record id, or None if it is withheld.
            target: seekable file to write to.
            limits: `curate.layouts.sidecars.values.Limits` on the values of annotations, or None
                for those that every value has.

        Yields:
            What was left out, with the reason.
        """
        ...

    def inspect(self, container: str, limits: Any) -> Iterator[str]:
        """Check the other contents of a container against the limits; yields the findings."""
        ...


def iter_containers(source: Source) -> Iterator[str]:
    """Iterate over the containers of a source; none where each image is a file."""
    if isinstance(source, ContainerSource):
        yield from source.containers()


def iter_sidecars(source: Source) -> Iterator[SidecarFile]:
    """Iterate over the sidecar files of a source; none where it has images only."""
    if isinstance(source, SidecarSource):
        yield from source.sidecars()
