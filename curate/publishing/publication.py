"""Choose the form in which a dataset is published, and what ``load_dataset`` makes of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.core.records import escape_controls
from curate.layouts.sidecars.prose import is_text
from curate.publishing.dataset import Dataset, count_splits
from curate.publishing.form import FORMS, WITH_OBJECTS, Form, image_folder_objects, iter_class_names
from curate.publishing.hub import batches

_CONVERTED_BY_DEFAULT = frozenset({"coco", "voc", "yolo", "arrow"})
BUILDERS = {"parquet": "parquet", "webdataset": "webdataset"}
"""Builders of ``datasets`` by layout or form; all others are read as image folders."""
_SPLIT = re.compile(r"\w+(\.\w+)*")
_MAGIC = re.compile(r"[*?\[\]{},!]")
_DEEPEST = 6
_LISTED = 20


def choose_form(dataset: Dataset, asked: str | None) -> tuple[str, str]:
    """The form to publish in, and a line if that is not what was asked for.

    Raises:
        UsageError: if there is no such form, or the layout cannot be published in it.
    """
    if asked is not None and asked not in FORMS:
        raise UsageError(f"--as {asked!r} is unknown; choose from {', '.join(FORMS)}")
    if asked == "keep" and dataset.layout == "arrow":
        raise UsageError(
            "--as keep: load_dataset cannot read what save_to_disk wrote; use --as parquet"
        )
    if asked == "imagefolder" and dataset.layout not in ("imagefolder", *WITH_OBJECTS):
        raise UsageError(f"--as imagefolder would lose the columns of {dataset.layout}; drop it")
    usual = "parquet" if dataset.layout in _CONVERTED_BY_DEFAULT else "keep"
    name = asked or usual
    if name in ("keep", "imagefolder") and (limit := batches.exceeds_limits(_iter_paths(dataset))):
        return "parquet", f"published as Parquet: {limit}"
    return name, ""


def _iter_paths(dataset: Dataset) -> Iterable[str]:
    if not dataset.in_containers:
        for item in dataset.items():
            if item.path is not None:
                yield f"data/{item.path}"
    for carried in dataset.carried():
        yield f"data/{carried.path}"


def describe_form(dataset: Dataset, asked: str | None) -> Form:
    """What a dataset will look like where it is published; nothing is converted.

    Raises:
        UsageError: as `choose_form`.
        DataError: if a split's name is not one that ``datasets`` takes.
    """
    name, note = choose_form(dataset, asked)
    splits, sizes = _count(dataset)
    if name == "imagefolder" and dataset.layout in WITH_OBJECTS:
        return _describe_image_folder(dataset, note, splits, sizes)
    if name in ("keep", "imagefolder"):
        patterns = keep_patterns(dataset)
        if patterns is not None and not _has_paths_of_classes(dataset):
            builder = BUILDERS.get(dataset.layout, "imagefolder")
            features = infer_features(dataset, builder, patterns)
            if features is not None:
                return Form(
                    name=name, note=note, builder=builder, data_files=patterns,
                    features=features, splits=splits,
                    sizes=sizes,
                    rows=_count_rows(dataset, patterns, splits),
                )  # fmt: skip
        name = "parquet"
        note = "published as Parquet: load_dataset cannot tell splits and classes of these folders"
    from curate.publishing.hub.convert import converted_features

    suffix = "tar" if name == "webdataset" else "parquet"
    packed = _are_many(dataset)
    if packed:
        packing = f"more than {batches.MAX_FILES_IN_FOLDER:,} annotation files are packed into tar"
        note = f"{note}; {packing}" if note else packing
    return Form(
        name=name,
        note=note,
        packed=packed,
        builder=BUILDERS[name],
        data_files={split: (f"data/{split}-*.{suffix}",) for split in splits},
        features=converted_features(dataset, name),
        splits=splits,
        sizes=sizes,
        rows=None if _is_of_rows(dataset) else splits,
    )


def _has_paths_of_classes(dataset: Dataset) -> bool:
    """Whether classes are told apart by the folders above the last one, which names the label."""
    is_named = dataset.layout == "imagefolder"
    return is_named and any("/" in (item.category or "") for item in dataset.items())


def _describe_image_folder(
    dataset: Dataset, note: str, splits: Mapping[str, int], sizes: Mapping[str, int]
) -> Form:
    """Image folders with a ``metadata.parquet`` that has the objects, as lists by column."""
    import datasets

    suffixes: dict[str, set[str]] = defaultdict(set)
    for item in dataset.items():
        if item.path is not None:
            suffixes[item.split or "train"].add(PurePosixPath(item.path).suffix)
    features = datasets.Features({"image": datasets.Image(), **image_folder_objects()})
    return Form(
        name="imagefolder",
        note=note,
        builder="imagefolder",
        data_files={
            split: (
                *(f"data/{split}/**/*{suffix}" for suffix in sorted(found)),
                f"data/{split}/metadata.parquet",
            )
            for split, found in sorted(suffixes.items())
        },
        features=features._to_yaml_list(),
        splits=splits,
        sizes=sizes,
        rows=splits,
    )


def _count(dataset: Dataset) -> tuple[dict[str, int], dict[str, int]]:
    """Images and bytes by split."""
    splits = count_splits(dataset)
    if not splits:
        raise DataError(f"{dataset.out} holds no image; there is nothing to publish")
    for split in splits:
        if not _SPLIT.fullmatch(split):
            raise DataError(
                f"split {split!r} is not a name that datasets takes (letters, digits, '_'); "
                "rename its folder"
            )
    images = {split: count for split, (count, _) in splits.items()}
    return images, {split: size for split, (_, size) in splits.items()}


def _are_many(dataset: Dataset) -> bool:
    """Whether there are more annotation files than a folder of the Hub may have."""
    files = (carried for carried in dataset.carried() if not carried.is_container)
    return next(islice(files, batches.MAX_FILES_IN_FOLDER, None), None) is not None


def _is_of_rows(dataset: Dataset) -> bool:
    """Whether a row or sample may hold several images, or none."""
    return dataset.in_containers or dataset.layout == "arrow"


def _count_rows(
    dataset: Dataset, patterns: Mapping[str, Sequence[str]], images: Mapping[str, int]
) -> Mapping[str, int] | None:
    """Rows by split of a dataset that is kept as it is."""
    if not _is_of_rows(dataset):
        return images
    if dataset.layout != "parquet":
        return None
    import pyarrow.parquet as pq

    found = {}
    for split, globs in patterns.items():
        paths = [path for glob in globs for path in dataset.out.glob(glob)]
        found[split] = sum(pq.read_metadata(path).num_rows for path in paths)
    return found


def keep_patterns(dataset: Dataset) -> dict[str, tuple[str, ...]] | None:
    """Patterns that match a split's images and nothing else, or None if there are none."""
    if dataset.in_containers:
        return _container_patterns(dataset)
    patterns: dict[str, tuple[str, ...]] | None = None
    for depth in range(_DEEPEST):
        patterns = _patterns_at(dataset, depth)
        if patterns is not None:
            break
    if patterns is None or dataset.layout != "hf_folder":
        return patterns
    return {split: (*found, *_metadata_patterns(found)) for split, found in patterns.items()}


def _metadata_patterns(patterns: Iterable[str]) -> list[str]:
    folders = dict.fromkeys(pattern.rpartition("/")[0] for pattern in patterns)
    return [f"{folder}/metadata.*" for folder in folders]


def _patterns_at(dataset: Dataset, depth: int) -> dict[str, tuple[str, ...]] | None:
    """Patterns that cut paths after so many folders; None if two splits share one."""
    owners: dict[tuple[str, ...], str] = {}
    suffixes: dict[tuple[str, ...], set[str]] = defaultdict(set)
    flat: set[tuple[str, ...]] = set()
    for item in dataset.items():
        if item.path is None:
            continue
        pure = PurePosixPath(item.path)
        folders = pure.parts[:-1]
        key = folders[:depth]
        if owners.setdefault(key, item.split or "train") != (item.split or "train"):
            return None
        suffixes[key].add(pure.suffix)
        if len(folders) <= depth:
            flat.add(key)
    deep = {key for key in owners if key not in flat or _has_deeper(dataset, key, depth)}
    for carried in dataset.carried():
        pure = PurePosixPath(carried.path)
        key = pure.parts[:-1][:depth]
        if key in owners and pure.suffix in suffixes[key]:
            return None  # a map of labels would be read as a photo
    if any(_MAGIC.search(part) for key in owners for part in key):
        return None
    made: dict[str, list[str]] = defaultdict(list)
    for key, split in sorted(owners.items()):
        inner = "/**/" if key in deep else "/"
        folder = "/".join(("data", *key))
        made[split] += [f"{folder}{inner}*{suffix}" for suffix in sorted(suffixes[key])]
    return {split: tuple(found) for split, found in sorted(made.items())}


def _has_deeper(dataset: Dataset, key: tuple[str, ...], depth: int) -> bool:
    return any(
        item.path is not None
        and len(PurePosixPath(item.path).parts) - 1 > depth
        and PurePosixPath(item.path).parts[:depth] == key
        for item in dataset.items()
    )


def _container_patterns(dataset: Dataset) -> dict[str, tuple[str, ...]] | None:
    """The containers of each split: listed where they are few, else by a pattern."""
    containers = {carried.path for carried in dataset.carried() if carried.is_container}
    by_split: dict[str, set[str]] = defaultdict(set)
    for item in dataset.items():
        if item.path is None:
            continue
        parents = (str(parent) for parent in PurePosixPath(item.path).parents)
        found = next((parent for parent in parents if parent in containers), None)
        if found is None:
            return None
        by_split[item.split or "train"].add(found)
    if sum(len(found) for found in by_split.values()) != len(set().union(*by_split.values())):
        return None
    patterns = {}
    for split, members in sorted(by_split.items()):
        names = sorted(members)
        if any(_MAGIC.search(name) for name in names):
            return None
        if len(names) <= _LISTED:
            patterns[split] = tuple(f"data/{name}" for name in names)
            continue
        start = _common_start(names)
        suffix = PurePosixPath(names[0]).suffix
        inside = [n for n in containers if n.startswith(start) and n.endswith(suffix)]
        if len(inside) != len(names) or any("/" in name[len(start) :] for name in names):
            return None
        patterns[split] = (f"data/{start}*{suffix}",)
    return patterns


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[:length].rstrip("0123456789")


def infer_features(
    dataset: Dataset, builder: str, patterns: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]] | None:
    """What ``datasets`` makes of the output as it is; None if it cannot read it alike everywhere.

    Structs of ``bytes`` and ``path`` are images.
    """
    import datasets

    files = {
        split: [str(dataset.out / pattern) for pattern in found]
        for split, found in patterns.items()
    }
    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(builder, data_files=files, streaming=True)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError):
        return None
    found = None
    for part in loaded.values():
        features = part.features or next(iter(part.take(1).iter(1)), None)
        if not isinstance(features, datasets.Features):
            return None
        if found is not None and features != found:
            return None
        found = features
    if found is None:
        return None
    image = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    for name, feature in found.items():
        if feature == image:
            found[name] = datasets.Image()
    listed: list[dict[str, Any]] = found._to_yaml_list()
    return listed


def check_class_names(form: Form) -> None:
    """Refuse names of classes that a card and ``croissant.json`` cannot have.

    Raises:
        DataError: if a name has control characters, or is over the limits of annotations.
    """
    for _, names in iter_class_names(form.features):
        for name in map(str, names):
            has_breaks = any(each in name for each in "\t\r\n")
            if has_breaks or escape_controls(name) != name or not is_text(name):
                raise DataError(
                    f"a card cannot have the class name {ascii(name)[:80]}, which has control "
                    "characters or is over the limits of annotations; rename it in SOURCE and run "
                    "`curate blur` again"
                )
