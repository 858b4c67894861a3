"""COCO: images, and any number of JSON files with ``images`` and ``annotations``."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from curate.core.records import ImageRecord
from curate.formats.annotations import open_annotation, read_head
from curate.formats.coco_groups import NAME, Opener, iter_annotations, iter_image_ids
from curate.formats.coco_json import looks_like_coco
from curate.formats.coco_names import Finder, image_places
from curate.formats.coco_survey import Survey, take_survey
from curate.formats.folder import Folder
from curate.formats.maps import MapLayout, is_panoptic_map
from curate.formats.on_disk import NamesOnDisk
from curate.formats.splits import split_in, split_of_folders

_SHOWN = 4
_MOST_LOOKED_AT = 64  # some tools write a JSON for every image
_IN_SPLITS = ("train", "valid", "val", "test")


class Coco(MapLayout):
    """Images that COCO's JSON files speak of: instances, keypoints, captions, panoptic and so on.

    An image's split is told by its folders (``train2017``), or by the name of the
    JSON that lists it. Panoptic maps are carried where they are proven to be maps.
    """

    layout = "coco"

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """COCO's JSON files in their usual places, told by how they begin."""
        places = (path for path in _usual_places(folder) if path.endswith(".json"))
        looked_at = islice(places, _MOST_LOOKED_AT)
        found = [path for path in looked_at if looks_like_coco(read_head(folder, path))]
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return f"{', '.join(map(_with_split, found[:_SHOWN]))}{more}" if found else None

    @cached_property
    def _survey(self) -> Survey:
        """What all the JSON files say; read when it is first needed, in each process."""
        return take_survey(self.folder)

    def check(self) -> Iterator[str]:
        """Read every JSON file to its end.

        Raises:
            DataError: if one is malformed.
        """
        yield from self._survey.notes
        names = self._survey.names
        for leaf in self.folder.leaves():
            if self._is_image(leaf):
                names.add("there", leaf.path)
        count, example = names.only_in("there", "image")
        if count:
            yield f"{count:,} images stand in no COCO JSON, such as {example!r}."

    def parse(self, path: str) -> ImageRecord:
        """Read an image's split from its folders, else from the JSON that lists it."""
        split = split_of_folders(path) or self._survey.names.get("image", path)
        return ImageRecord(id=path, uri=path, split=split or None)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A row for each annotation: its category's name and its ``attributes``.

        The same annotation in two files, as of instances and of keypoints, is one.
        """
        seen = NamesOnDisk()
        for path, opener in self._jsons():
            places = Finder(self.folder, image_places(path))
            for number, row in iter_annotations(opener, path):
                image = places.find(row[NAME], f"{path}: {NAME}")
                said = {name: value for name, value in row.items() if name != NAME}
                new = number is None or seen.add("annotation", f"{number!r} {image}")
                if image is not None and new and any(value is not None for value in said.values()):
                    yield image, said
        seen.close()

    def aliases(self) -> Iterator[tuple[str, str]]:
        """The ids that the JSON files give to the images."""
        for path, opener in self._jsons():
            places = Finder(self.folder, image_places(path))
            for number, name in iter_image_ids(opener, path):
                image = places.find(name, f"{path}: {NAME}")
                if image is not None:
                    yield number, image

    def _jsons(self) -> Iterator[tuple[str, Opener]]:
        for leaf in self.folder.leaves():
            is_json = leaf.regular and leaf.path.endswith(".json")
            if is_json and looks_like_coco(read_head(self.folder, leaf.path)):
                yield leaf.path, partial(open_annotation, self.folder, leaf.path)

    def may_be_map(self, path: str) -> bool:
        """Whether a panoptic JSON names this file as a map."""
        in_folder = any(name.startswith("panoptic") for name in path.split("/")[:-1])
        is_png = path.lower().endswith(".png")
        return is_png and in_folder and self._survey.names.get("map", path) is not None

    def is_map(self, path: str, data: bytes) -> bool:
        """Prove a panoptic map against the segments that its JSON gives for it."""
        segments = self._survey.names.get("map", path) if self.may_be_map(path) else None
        return segments is not None and is_panoptic_map(data, json.loads(segments))


def _with_split(path: str) -> str:
    split = split_in(PurePosixPath(path).stem)
    return f"{path} (split {split})" if split else path


def _usual_places(folder: Folder) -> Iterator[str]:
    """Where COCO's JSON files usually are, without a look into folders full of images."""
    tops = folder.names()
    for name in sorted(tops):
        yield name
        if name.lower() == "annotations/":
            yield from (f"{name}{inner}" for inner in sorted(folder.names(name)))
    for split in _IN_SPLITS:  # as exported by labelling tools
        path = posixpath.join(split, "_annotations.coco.json")
        if f"{split}/" in tops and folder.leaf(path) is not None:
            yield path
