"""The files of a published dataset, in the form that it is published in."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.manifest import store
from curate.publishing.dataset import Dataset, Item
from curate.publishing.form import WITH_OBJECTS, Form, image_folder_objects
from curate.publishing.hub.batches import LocalFile
from curate.publishing.hub.content import describe_file
from curate.publishing.hub.objects import Objects, load_classes, open_objects
from curate.publishing.hub.shards import (
    Shard,
    iter_numbered,
    iter_packs,
    plan_shards,
    suffix_of,
    write_pack,
    write_parquet,
    write_tar,
)
from curate.storage.atomic import save_text

_IMAGE = "image"


def converted_features(dataset: Dataset, name: str) -> list[dict[str, Any]]:
    """Features of a converted dataset, as ``dataset_info.features`` has them in YAML."""
    import datasets

    if dataset.layout not in WITH_OBJECTS and dataset.layout != "imagefolder":
        listed: list[dict[str, Any]] = _row_features(dataset)._to_yaml_list()
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
        if not _is_finished(path):
            draft = path.with_name(f"{path.name}.partial")
            write_pack(group, dataset.data, draft)
            _finish(draft, path)
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
        yield from _iter_row_shards(dataset, folder, watch)
        return
    for shard, items in shards:
        path = folder / shard.name(suffix)
        if not _is_finished(path):
            draft = path.with_name(f"{path.name}.partial")
            write(items, draft)
            _finish(draft, path)
        watch(path.name, len(items))
        yield describe_file(f"data/{path.name}", path)


def _finish(draft: Path, path: Path) -> None:
    """Move a shard to its place, and note that it is whole."""
    draft.replace(path)
    save_text(_digest_of(path), store.digest_file(path))


def _digest_of(path: Path) -> Path:
    """The file that holds the digest of a finished shard."""
    return path.with_name(f"{path.name}.sha256")


def _is_finished(path: Path) -> bool:
    """Whether a shard of an earlier attempt is whole and as it was written."""
    try:
        return _digest_of(path).read_text(encoding="utf-8") == store.digest_file(path)
    except (OSError, UnicodeDecodeError):
        return False


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


def _row_builder(dataset: Dataset) -> dict[str, Any]:
    """The dataset as ``datasets`` reads it, by split, streaming, images as bytes."""
    import datasets

    if dataset.layout == "arrow":
        loaded = datasets.load_from_disk(str(dataset.data))
        parts = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        return dict(parts)
    from curate.publishing.publication import BUILDERS, keep_patterns

    patterns = keep_patterns(dataset)
    if patterns is None:
        raise DataError(
            f"{dataset.out}: splits share folders or files, so that load_dataset cannot tell them "
            "apart; give each split a folder of its own"
        )
    files = {s: [str(dataset.out / one) for one in found] for s, found in patterns.items()}
    builder = BUILDERS.get(dataset.layout, "imagefolder")
    return dict(datasets.load_dataset(builder, data_files=files, streaming=True))


def _row_features(dataset: Dataset) -> Any:
    import datasets

    first = next(iter(_row_builder(dataset).values()))
    features = first.features
    image = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    plain = {
        name: datasets.Image() if feature == image else feature
        for name, feature in features.items()
        if name not in ("__key__", "__url__")
    }
    return datasets.Features(plain)


def _iter_row_shards(
    dataset: Dataset, folder: Path, watch: Callable[[str, int], None]
) -> Iterator[LocalFile]:
    """Shards of a layout of rows; whether an image is lost is known when all are written."""
    complete = folder / "complete"
    names = complete.read_text(encoding="utf-8").splitlines() if complete.is_file() else []
    if not names or not all(_is_finished(folder / name) for name in names):
        complete.unlink(missing_ok=True)
        names = list(_write_row_shards(dataset, folder, watch))
        save_text(complete, "".join(f"{name}\n" for name in names))
    for name in names:
        yield describe_file(f"data/{name}", folder / name)


def _write_row_shards(
    dataset: Dataset, folder: Path, watch: Callable[[str, int], None]
) -> Iterator[str]:
    """Write every shard anew; every image in a row must be one of the manifest's."""
    import datasets

    features = _row_features(dataset)
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    totals, _ = plan_shards(dataset)
    with closing(sqlite3.connect("")) as known:
        known.execute("CREATE TABLE images (sha256 TEXT PRIMARY KEY, shard INTEGER)")
        for split in totals:
            for number, item in iter_numbered(dataset, split):
                if item.is_written:
                    known.execute(
                        "INSERT OR IGNORE INTO images VALUES (?, ?)", (item.sha256, number)
                    )
        seen = [0]
        for split, rows in _row_builder(dataset).items():
            taken = _iter_checked_rows(rows, images, known, seen)
            for number, group in groupby(taken, key=lambda pair: pair[0]):
                shard = Shard(split, number, totals.get(split, 1))
                path = folder / shard.name("parquet")
                draft = path.with_name(f"{path.name}.partial")
                plain = ({name: row[name] for name in features} for _, row in group)
                write_parquet((features.encode_example(row) for row in plain), features, draft)
                _finish(draft, path)
                watch(path.name, 0)
                yield path.name
    written = sum(item.is_written for item in dataset.items())
    if seen[0] != written:
        raise DataError(
            f"load_dataset reads {seen[0]:,} of the {written:,} images of {dataset.out}, so that a "
            "conversion would lose some; use --as keep"
        )


def _iter_checked_rows(
    rows: Any, images: Sequence[str], known: sqlite3.Connection, seen: list[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    import datasets

    for name in images:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    last = 0
    for row in rows:
        for name in images:
            image = row[name]
            if image is None:
                continue
            data = image.get("bytes") or Path(image["path"]).read_bytes()
            found = known.execute(
                "SELECT shard FROM images WHERE sha256 = ?", (hashlib.sha256(data).hexdigest(),)
            ).fetchone()
            if found is None:
                raise DataError(
                    f"an image of column {name!r} is not in the manifest; run `curate verify`"
                )
            last, seen[0] = max(last, found[0]), seen[0] + 1
            row[name] = {"bytes": data, "path": PurePosixPath(image.get("path") or "").name or None}
        yield last, row
