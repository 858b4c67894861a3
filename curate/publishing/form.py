"""The form in which a dataset is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMS = ("keep", "parquet", "webdataset", "imagefolder")
WITH_OBJECTS = frozenset({"coco", "voc", "yolo"})
"""Layouts whose boxes become the column ``objects``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a dataset is published.

    Args:
        name: one of `FORMS`.
        note: why it is not the one that was asked for or is usual; empty if it is.
        builder: the builder of ``datasets`` that reads it.
        data_files: patterns by split, relative to the repository.
        features: as ``dataset_info.features`` has them in YAML.
        splits: images by split.
        sizes: bytes of images by split.
        rows: rows that ``load_dataset`` gives by split; None where only reading tells.
        packed: whether annotation files are too many to be published one by one.
    """

    name: str
    note: str
    builder: str
    data_files: Mapping[str, Sequence[str]]
    features: Sequence[Mapping[str, Any]]
    splits: Mapping[str, int]
    sizes: Mapping[str, int]
    rows: Mapping[str, int] | None
    packed: bool = False


def image_folder_objects() -> dict[str, Any]:
    """The feature ``objects`` of an image folder: boxes and class names, as lists by column."""
    import datasets

    bbox = datasets.List(datasets.List(datasets.Value("float64")))
    return {"objects": {"bbox": bbox, "category": datasets.List(datasets.Value("string"))}}


def iter_class_names(
    features: Sequence[Mapping[str, Any]], prefix: str = ""
) -> Iterator[tuple[str, list[str]]]:
    """Iterate over columns of classes, of lists of structs too, with the names by number."""
    for feature in features:
        name, kind = f"{prefix}{feature['name']}", feature.get("dtype")
        if isinstance(kind, Mapping) and "class_label" in kind:
            names = kind["class_label"]["names"]
            ordered = (
                [names[str(n)] for n in range(len(names))]
                if isinstance(names, Mapping)
                else list(names)
            )
            yield name.replace("/", "-"), ordered
        for inner in (feature.get("list"), feature.get("struct")):
            if isinstance(inner, list):
                yield from iter_class_names(inner, f"{name}/")
