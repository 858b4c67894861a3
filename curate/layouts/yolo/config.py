"""``data.yaml``, the dataset configuration of Ultralytics YOLO."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.core.documents import MAX_YAML
from curate.core.errors import DataError
from curate.layouts.access.folder import Folder
from curate.layouts.access.tree import describe_pointer
from curate.layouts.annotations import (
    Problems,
    load_mapping,
    open_annotation,
    read_head,
    resolve,
    shorten,
)
from curate.layouts.containers import iter_listed_folders

_SPLITS = ("train", "val", "test", "minival")
_KEYS = (b"names:", b"nc:")


@dataclass(frozen=True, slots=True)
class Config:
    """Parsed ``data.yaml``.

    Args:
        classes: number of classes, or None if not stated.
        keypoints: numbers per pose, or None if labels are not poses.
        dimensions: numbers per keypoint.
        flips: for each keypoint the index of its mirror image, or None if not stated.
        lists: split and path of each list of images.
        notes: notes for the user, one line each.
        names: class names by number; empty if not stated.
    """

    classes: int | None = None
    keypoints: int | None = None
    dimensions: int = 2
    flips: tuple[int, ...] | None = None
    lists: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


def find_config(folder: Folder) -> str | None:
    """Return the path of a YAML file with classes and splits, in the first folders, or None."""
    for parent, names in iter_listed_folders(folder):
        for name in sorted(names):
            path = f"{parent}{name}"
            if not name.endswith((".yaml", ".yml")):
                continue
            if _is_config(read_head(folder, path)) or _has_keys(folder, path):
                return path
    return None


def load_config(folder: Folder, path: str, problems: Problems) -> Config:
    """Load a configuration.

    Args:
        folder: files of the dataset.
        path: path of the configuration.
        problems: collects values of a wrong type, and paths that are absolute or outside the
            dataset.

    Raises:
        DataError: if it is not valid YAML.
    """
    with open_annotation(folder, path) as file:
        value = load_mapping(file.read(MAX_YAML + 1), path)
    classes, keypoints, dimensions, flips = None, 0, 2, None
    with problems.collect(path):
        classes = _count_classes(value, path)
    with problems.collect(path):
        keypoints, dimensions = _keypoints(value, path)
    with problems.collect(path):
        flips = _flips(value, keypoints, path)
    lists, notes = [], []
    if isinstance(value.get("path"), str) and value["path"].startswith(("/", "~", "..")):
        notes.append(f"{path}: path is {shorten(value['path'])}; kept as it is.")
    for split in _SPLITS:
        entries = value.get(split)
        for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            if entry is not None:
                where = f"{path}: {split}" + (f"[{number}]" if isinstance(entries, list) else "")
                with problems.collect(path):
                    found = _locate(folder, posixpath.dirname(path), value, entry, where)
                    if found.endswith(".txt"):
                        lists.append((split, found))
    return Config(
        classes=classes,
        keypoints=keypoints * dimensions if keypoints else None,
        dimensions=dimensions,
        flips=flips,
        lists=tuple(lists),
        notes=tuple(notes),
        names=_name_classes(value.get("names")),
    )


def _is_config(head: bytes) -> bool:
    if describe_pointer(head):
        return True  # refused when it is read
    lines = head.splitlines()
    return any(line.startswith(_KEYS) for line in lines) and any(
        line.startswith((b"train:", b"val:", b"test:")) for line in lines
    )


def _has_keys(folder: Folder, path: str) -> bool:
    """Return whether a YAML file has the keys wherever they are: in braces, or after a list."""
    try:
        with open_annotation(folder, path) as file:
            value = load_mapping(file.read(MAX_YAML + 1), path)
    except DataError:
        return False
    return bool({"names", "nc"} & set(value)) and bool({"train", "val", "test"} & set(value))


def _count_classes(value: Mapping[str, Any], path: str) -> int | None:
    names, count = value.get("names"), value.get("nc")
    if names is not None and not isinstance(names, list | dict):
        raise DataError(f"{path}: names is {shorten(names)}; expected a list or a mapping")
    if count is None:
        return None if names is None else max([*names, -1]) + 1 if _by_number(names) else len(names)
    if type(count) is not int or count < 0:
        raise DataError(f"{path}: nc is {shorten(count)}; expected an integer")
    if names is not None and len(names) != count:
        raise DataError(f"{path}: nc is {count}, but names has {len(names)}")
    return count


def _name_classes(names: Any) -> dict[int, str]:
    if not isinstance(names, list | dict):
        return {}
    given = names.items() if isinstance(names, dict) else enumerate(names)
    return {number: str(name) for number, name in given if type(number) is int}


def _by_number(names: Any) -> bool:
    return isinstance(names, dict) and all(type(key) is int for key in names)


def _keypoints(value: Mapping[str, Any], path: str) -> tuple[int, int]:
    """Return the number of keypoints of a pose, 0 if there are none, and numbers per keypoint."""
    shape = value.get("kpt_shape")
    if shape is None:
        return 0, 2
    if isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape):
        return int(shape[0]), int(shape[1])
    raise DataError(f"{path}: kpt_shape is {shorten(str(shape))}; expected two integers")


def _flips(value: Mapping[str, Any], keypoints: int, path: str) -> tuple[int, ...] | None:
    order = value.get("flip_idx")
    if order is None or not keypoints:
        return None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(keypoints))):
        raise DataError(f"{path}: flip_idx does not name each of the {keypoints} keypoints once")
    return tuple(map(int, order))


def _locate(folder: Folder, base: str, value: Mapping[str, Any], entry: Any, where: str) -> str:
    """Return the file or folder in SOURCE to which the entry of a split refers.

    Entries are relative to the configuration's folder ``base``, or to its ``path``.
    """
    if isinstance(entry, str) and entry.startswith("../"):
        inside = entry[3:]  # written by Roboflow, and read this way by Ultralytics
        if posixpath.dirname(inside):  # the folder of a split may be missing in the export
            entry = inside
    found = resolve(base, entry, where)
    root = value.get("path")
    if isinstance(root, str) and folder.info(found) is None:
        inside = posixpath.normpath(posixpath.join(base, root, str(entry)))
        if not inside.startswith(("/", "~", "..")) and folder.info(inside) is not None:
            return inside
    return found
