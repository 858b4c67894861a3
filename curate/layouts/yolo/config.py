"""``data.yaml``: what Ultralytics' configuration says of a dataset."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.core.errors import DataError
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import open_annotation, read_head, resolve, shorten

_LARGEST = 1 << 20
_SPLITS = ("train", "val", "test", "minival")
_KEYS = (b"names:", b"nc:")


@dataclass(frozen=True, slots=True)
class Config:
    """What matters of a ``data.yaml``.

    Args:
        classes: how many there are, or None if that is not said.
        keypoints: numbers per pose, or None where labels are no poses.
        dimensions: numbers per keypoint of a pose.
        flips: for each keypoint the one on the other side, or None if that is not said.
        lists: split and path of every list of images.
        notes: what a user should know, a line each.
        names: what classes are called, by number; empty where that is not said.
    """

    classes: int | None = None
    keypoints: int | None = None
    dimensions: int = 2
    flips: tuple[int, ...] | None = None
    lists: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


def find_config(folder: Folder) -> str | None:
    """The dataset's configuration: a YAML in SOURCE with classes and splits, or None."""
    names = (name for name in sorted(folder.names()) if name.endswith((".yaml", ".yml")))
    return next((name for name in names if _looks_like_config(read_head(folder, name))), None)


def load_config(folder: Folder, path: str) -> Config:
    """Read a configuration.

    Raises:
        DataError: if it is no YAML, a value has the wrong type, or a path in it is
            absolute or leaves the dataset.
    """
    value = _load_yaml(folder, path)
    classes = _count_classes(value, path)
    lists, notes = [], []
    if isinstance(value.get("path"), str) and value["path"].startswith(("/", "~", "..")):
        notes.append(f"{path}: path is {shorten(value['path'])}; carried as it is.")
    for split in _SPLITS:
        entries = value.get(split)
        for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            if entry is not None:
                where = f"{path}: {split}" + (f"[{number}]" if isinstance(entries, list) else "")
                place = _locate(folder, value, entry, where)
                if place.endswith(".txt"):
                    lists.append((split, place))
    keypoints, dimensions = _keypoints(value, path)
    return Config(
        classes=classes,
        keypoints=keypoints * dimensions if keypoints else None,
        dimensions=dimensions,
        flips=_flips(value, keypoints, path),
        lists=tuple(lists),
        notes=tuple(notes),
        names=_name_classes(value.get("names")),
    )


def _looks_like_config(head: bytes) -> bool:
    lines = head.splitlines()
    return any(line.startswith(_KEYS) for line in lines) and any(
        line.startswith((b"train:", b"val:", b"test:")) for line in lines
    )


def _load_yaml(folder: Folder, path: str) -> Mapping[str, Any]:
    import yaml

    with open_annotation(folder, path) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise DataError(f"{path} is longer than {_LARGEST >> 20} MB; that is no configuration")
    try:
        value = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())[:160]
        raise DataError(f"{path} is no YAML ({line})") from None
    if not isinstance(value, Mapping):
        raise DataError(f"{path} is no table of keys and values")
    return value


def _count_classes(value: Mapping[str, Any], path: str) -> int | None:
    names, count = value.get("names"), value.get("nc")
    if names is not None and not isinstance(names, list | dict):
        raise DataError(f"{path}: names is {shorten(names)}; want a list or a table")
    if count is None:
        return None if names is None else max([*names, -1]) + 1 if _by_number(names) else len(names)
    if type(count) is not int or count < 0:
        raise DataError(f"{path}: nc is {shorten(count)}; want a whole number")
    if names is not None and len(names) != count:
        raise DataError(f"{path}: nc is {count}, but names has {len(names)}")
    return count


def _name_classes(names: Any) -> dict[int, str]:
    given = names.items() if _by_number(names) else enumerate(names or ())
    return {number: str(name) for number, name in given}


def _by_number(names: Any) -> bool:
    return isinstance(names, dict) and all(type(key) is int for key in names)


def _keypoints(value: Mapping[str, Any], path: str) -> tuple[int, int]:
    """How many keypoints a pose has, 0 where there are none, and numbers for each."""
    shape = value.get("kpt_shape")
    if shape is None:
        return 0, 2
    if isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape):
        return int(shape[0]), int(shape[1])
    raise DataError(f"{path}: kpt_shape is {shorten(str(shape))}; want two whole numbers")


def _flips(value: Mapping[str, Any], keypoints: int, path: str) -> tuple[int, ...] | None:
    order = value.get("flip_idx")
    if order is None or not keypoints:
        return None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(keypoints))):
        raise DataError(f"{path}: flip_idx does not name each of the {keypoints} keypoints once")
    return tuple(map(int, order))


def _locate(folder: Folder, value: Mapping[str, Any], entry: Any, where: str) -> str:
    """The file or folder in SOURCE that a split's entry means."""
    if isinstance(entry, str) and entry.startswith("../"):
        inside = entry[3:]  # as Roboflow writes it; Ultralytics takes it so, too
        if posixpath.dirname(inside) and f"{inside.split('/')[0]}/" in folder.names():
            entry = inside
    place = resolve("", entry, where)
    root = value.get("path")
    if isinstance(root, str) and folder.leaf(place) is None:
        inside = posixpath.normpath(posixpath.join(root, place))
        if not inside.startswith(("/", "~", "..")) and folder.leaf(inside) is not None:
            return inside
    return place
