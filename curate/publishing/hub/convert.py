"""The files of a published dataset, in the form that it is published in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.publishing.dataset import Dataset, Item
from curate.publishing.form import WITH_OBJECTS, Form, image_folder_objects
from curate.publishing.hub.batches import LocalFile
from curate.publishing.hub.content import describe_file
from curate.publishing.hub.objects import Objects, load_classes, open_objects
from curate.publishing.hub.rows import iter_row_shards, row_features
from curate.publishing.hub.shards import (
    finish,
    is_finished,
    iter_packs,
    plan_shards,
    suffix_of,
    write_pack,
    write_parquet,
    write_tar,
)

_IMAGE = "image"


def converted_features(dataset: Dataset, name: str) -> list[dict[str, Any]]:
    """Features of a converted dataset, as ``dataset_info.features`` has them in YAML."""
    import datasets

    if dataset.layout not in WITH_OBJECTS and dataset.layout != "imagefolder":
        listed: list[dict[str, Any]] = row_features(dataset)._to_yaml_list()
        return listed
    objects = open_objects(dataset)
    features = _features(dataset, objects)
    if name == "webdataset":
        features = _webdataset_features(dataset, objects)
    made: list[dict[str, Any]] = datasets.Features(features)._to_yaml_list()
    return made


def _features(dataset: Dataset, objects: Objects | None) -> Any:
    import datasets

    classes = load_classes(dataset, objects)
    features: dict[str, Any] = {
        _IMAGE: datasets.Image(), "file_name": datasets.Value("string")
    }  # fmt: skip
    if classes.images:
        features["label"] = datasets.ClassLabel(names=list(classes.images))
    if objects is not None:
        one = {
            "bbox": datasets.List(datasets.Value("float32"), length=4),
            "category": datasets.ClassLabel(names=list(classes.objects)),
            **{key: datasets.Value(kind) for key, kind in objects.extra.items()},
        }
        features["objects"] = datasets.List(one)
    return datasets.Features(features)


def _webdataset_features(dataset: Dataset, objects: Objects | None) -> dict[str, Any]:
    import datasets

    suffixes = {suffix_of(item) for item in dataset.items() if item.path is not None}
    if len(suffixes) > 1:
        raise UsageError(
            "--as webdataset needs images of one format, and there are "
            f"{', '.join(sorted(suffixes))}; use --as parquet"
        )
    sample: dict[str, Any] = {"file_name": datasets.Value("string")}
    if load_classes(dataset, None).images:
        sample |= {"label": datasets.Value("int64"), "label_name": datasets.Value("string")}
    if objects is not None:
        sample["objects"] = datasets.List(
            {
                "bbox": datasets.List(datasets.Value("float64")),
                "category": datasets.Value("int64"),
                "category_name": datasets.Value("string"),
                **{key: datasets.Value(kind) for key, kind in objects.extra.items()},
            }
        )
    return {
        suffixes.pop(): datasets.Image(),
        "json": sample,
        "__key__": datasets.Value("string"),
        "__url__": datasets.Value("string"),
    }


def iter_files(
    dataset: Dataset, form: Form, staging: Path, watch: Callable[[str, int], None]
) -> Iterator[LocalFile]:
    """The files of the published dataset, below ``data/`` and ``annotations/``.

    Nothing is ever found by looking at a folder: images come from the manifest, and every image's
    bytes are compared with its digest there.

    Args:
        dataset: the dataset.
        form: how it is published.
        staging: where shards are written; finished ones of the same manifest are used again.
        watch: called with the name of each shard and its number of images.

    Raises:
        DataError: if an image or a file differs from the manifest.
    """
    if form.name == "keep":
        yield from _iter_kept(dataset)
        return
    if form.name == "imagefolder" and dataset.layout in WITH_OBJECTS:
        yield from _iter_image_folder(dataset, staging)
    elif form.name == "imagefolder":
        yield from _iter_kept(dataset)
        return
    else:
        yield from _iter_shards(dataset, form, staging, watch)
    yield from _iter_annotations(dataset, form, staging)


def _iter_annotations(dataset: Dataset, form: Form, staging: Path) -> Iterator[LocalFile]:
    """Annotation files, untouched, where ``load_dataset`` does not look; packed if many."""
    files = (carried for carried in dataset.carried() if not carried.is_container)
    if not form.packed:
        for carried in files:
            yield LocalFile(
                path=f"annotations/{carried.path}",
                source=dataset.data / carried.path,
                sha256=carried.sha256,
                bytes=carried.bytes,
            )
        return
    folder = staging / f"annotations-{dataset.content_sha256[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for number, group in enumerate(iter_packs(files)):
        path = folder / f"annotations-{number:05d}.tar"
        if not is_finished(path):
            draft = path.with_name(f"{path.name}.partial")
            write_pack(group, dataset.data, draft)
            finish(draft, path)
        yield describe_file(f"annotations/{path.name}", path)


def _iter_kept(dataset: Dataset) -> Iterator[LocalFile]:
    if not dataset.in_containers:
        for item in dataset.items():
            if item.path is not None:
                yield LocalFile(
                    path=f"data/{item.path}",
                    source=dataset.data / item.path,
                    sha256=str(item.sha256),
                    bytes=item.bytes,
                )
    for carried in dataset.carried():
        yield LocalFile(
            path=f"data/{carried.path}",
            source=dataset.data / carried.path,
            sha256=carried.sha256,
            bytes=carried.bytes,
        )


def _iter_shards(
    dataset: Dataset, form: Form, staging: Path, watch: Callable[[str, int], None]
) -> Iterator[LocalFile]:
    suffix = "tar" if form.name == "webdataset" else "parquet"
    folder = staging / f"{form.name}-{dataset.content_sha256[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    if dataset.layout in WITH_OBJECTS or dataset.layout == "imagefolder":
        write = _writer(dataset, form)
        _, shards = plan_shards(dataset)
    elif form.name == "webdataset":
        raise UsageError(f"--as webdataset is not for {dataset.layout}; use --as parquet")
    else:
        yield from iter_row_shards(dataset, folder, watch)
        return
    for shard, items in shards:
        path = folder / shard.name(suffix)
        if not is_finished(path):
            draft = path.with_name(f"{path.name}.partial")
            write(items, draft)
            finish(draft, path)
        watch(path.name, len(items))
        yield describe_file(f"data/{path.name}", path)


def _writer(dataset: Dataset, form: Form) -> Callable[[Sequence[Item], Path], None]:
    objects = open_objects(dataset)
    read = _checked_reader(dataset)
    if form.name == "webdataset":
        classes = load_classes(dataset, objects).images
        return lambda items, path: write_tar(items, path, read, classes, objects)
    features = _features(dataset, objects)
    return lambda items, path: write_parquet(
        (_row(item, read, features, objects) for item in items), features, path
    )


def _checked_reader(dataset: Dataset) -> Callable[[Item], bytes]:
    """What reads an image and compares it with the manifest."""
    reader = dataset.reader()

    def read(item: Item) -> bytes:
        try:
            data = reader(str(item.path))
        except OSError as error:
            raise DataError(f"data/{item.path}: {error.strerror or 'cannot be read'}") from None
        if hashlib.sha256(data).hexdigest() != item.sha256:
            raise DataError(
                f"data/{item.path} is not what the manifest says; run `curate verify` on OUT"
            )
        return data

    return read


def _row(
    item: Item, read: Callable[[Item], bytes], features: Any, objects: Objects | None
) -> dict[str, Any]:
    name = str(item.path)
    row: dict[str, Any] = {
        _IMAGE: {"bytes": read(item), "path": PurePosixPath(name).name},
        "file_name": name,
    }
    if "label" in features:
        row["label"] = None if item.category is None else features["label"].str2int(item.category)
    if objects is not None:
        row["objects"] = objects.find(item)
    return row


def _iter_image_folder(dataset: Dataset, staging: Path) -> Iterator[LocalFile]:
    """Images below their split's folder, with a ``metadata.parquet`` in each.

    JSON Lines would do as well, but for a split without boxes, whose lists have no type then.
    """
    import datasets

    objects = open_objects(dataset)
    features = datasets.Features({"file_name": datasets.Value("string"), **image_folder_objects()})
    folder = staging / f"imagefolder-{dataset.content_sha256[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for split in sorted({item.split or "train" for item in dataset.items() if item.is_written}):
        path = folder / f"{split}.parquet"
        write_parquet(_iter_box_rows(dataset, split, objects), features, path)
        for item in _iter_written(dataset, split):
            yield LocalFile(
                path=f"data/{split}/{item.path}",
                source=dataset.data / str(item.path),
                sha256=str(item.sha256),
                bytes=item.bytes,
            )
        yield describe_file(f"data/{split}/metadata.parquet", path)


def _iter_written(dataset: Dataset, split: str) -> Iterator[Item]:
    return (i for i in dataset.items() if i.is_written and (i.split or "train") == split)


def _iter_box_rows(
    dataset: Dataset, split: str, objects: Objects | None
) -> Iterator[dict[str, Any]]:
    classes = objects.classes if objects else ()
    for item in _iter_written(dataset, split):
        found = objects.find(item) if objects else []
        boxes = [one["bbox"] for one in found]
        names = [classes[one["category"]] for one in found]
        yield {"file_name": item.path, "objects": {"bbox": boxes, "category": names}}
