"""Protocols of the plug-in parts: detectors, classifiers, obfuscators and dataset sources."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol

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


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """A file of the dataset that is not an image.

    Args:
        path: relative to the dataset's root.
        uri: where the source finds the bytes.
        carried: whether it goes to the output as it is; otherwise it is only listed.
        reason: why it is not carried, for the list.
    """

    path: PurePosixPath
    uri: str
    carried: bool
    reason: str = "not an annotation or image"


class Source(Protocol):
    """A dataset in some layout, opened for reading only.

    The contract, tested for every layout: the same dataset gives the same records,
    sorted by the bytes of their ids, which are unique; what is malformed is one
    clear `DataError`; a record can be read in another process than the one that
    listed it. Where images stand inside larger files (shards), those are its
    containers: they are written anew, and are none of its ``others``.
    """

    layout: str
    """The layout's registered name."""

    place: str
    """What `curate.layouts.open_source` opens again in another process."""

    def check(self) -> Iterator[str]:
        """Look the annotations over before anything is done.

        Yields:
            What a user should know, a line each.

        Raises:
            DataError: if they are malformed.
        """
        ...

    def records(self) -> Iterator[ImageRecord]:
        """Every image, streaming, sorted by id."""
        ...

    def find(self, record_id: str) -> ImageRecord | None:
        """The record of an id, or None if there is none; quick for ids in ascending order."""
        ...

    def read(self, record: ImageRecord) -> bytes:
        """The stored bytes of one image.

        Raises:
            WithheldError: if they cannot be read, through the image's own fault.
            DataError: if the image has gone.
            SetupError: if the storage does not answer.
        """
        ...

    def stamp(self, record: ImageRecord) -> str:
        """A short text that changes when the stored bytes of an image do."""
        ...

    def size(self, record: ImageRecord) -> int | None:
        """Stored bytes of one image, or None where only reading it would tell."""
        ...

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What the dataset itself says of its images beside split and category of a record.

        Args:
            columns: what is wanted; a layout may say more, and looks for nothing else.

        Yields:
            A record's id and a row, in no particular order; several rows of one record
            where the annotations speak of several things in it.

        Raises:
            DataError: if the annotations are malformed.
        """
        ...

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Other names by which a table may call an image, each with the record's id.

        A name may come with several records; it then means none of them.
        """
        ...

    def others(self) -> Iterator[CarriedFile]:
        """Every file that holds no image, streaming, sorted by path."""
        ...

    def is_map(self, path: str, data: bytes) -> bool:
        """Prove that an image file is a map of labels, in which there is no face to hide.

        Args:
            path: of one of ``others()``.
            data: the file.
        """
        ...

    def open(self, other: CarriedFile) -> BinaryIO:
        """Open a file that holds no image."""
        ...

    def containers(self) -> Iterator[str]:
        """Paths of the files that hold several images each, sorted; none where images are files."""
        ...

    def rebuild(
        self, container: str, outputs: Callable[[str], bytes | None], target: BinaryIO
    ) -> Iterator[CarriedFile]:
        """Write a container anew with obfuscated images, all else in order and as it was.

        Args:
            container: one of ``containers()``.
            outputs: the bytes of a record's output by its id; None if it is withheld.
            target: where to write; can be sought in.

        Yields:
            What stayed behind, and why.
        """
        ...

    def inspect(self, container: str) -> Iterator[str]:
        """Look a container's other contents over for pictures; one line for each find."""
        ...
