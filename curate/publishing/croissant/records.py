"""Croissant's record sets: splits, classes, and the images with their labels and boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.publishing.form import Form, iter_class_names


def build_record_sets(form: Form, box: str | None, listed: bool) -> list[dict[str, Any]]:
    """The record sets of a dataset.

    Args:
        form: how it is published.
        box: what the numbers of a box are, or None where there are none.
        listed: whether the distribution has the archives of WebDataset one by one, so that the
            images in them can be read.
    """
    sets = [_split_set(form)]
    classes = dict(iter_class_names(form.features))
    sets += [_class_set(name, names) for name, names in classes.items()]
    sets += [_image_set(form, split, classes, box, listed) for split in form.data_files]
    if form.name == "imagefolder" and box:
        sets += [_box_set(split, box) for split in form.data_files]
    return sets


def _box_set(split: str, box: str) -> dict[str, Any]:
    """The boxes of an image folder, from its ``metadata.parquet``."""
    record, source = f"boxes-{split}", {"fileSet": {"@id": f"boxes-{split}-files"}}
    fields = [
        _field(f"{record}/file_name", "sc:Text", {**source, "extract": {"column": "file_name"}})
    ]
    for name, kind, shape in (
        ("bbox", ["sc:Float", "cr:BoundingBox"], "-1,4"), ("category", "sc:Text", "-1")
    ):  # fmt: skip
        made = _field(f"{record}/{name}", kind, {
            **source, "extract": {"column": "objects"}, "transform": {"jsonPath": name},
        })  # fmt: skip
        fields.append({**made, "isArray": True, "arrayShape": shape})
    fields[1]["description"] = box
    return {
        "@type": "cr:RecordSet",
        "@id": record,
        "name": record,
        "description": f"Boxes of the images of split {split}, one row for each image.",
        "field": fields,
    }


def _split_set(form: Form) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits, with their numbers of images.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/images", "dataType": "sc:Integer"},
        ],
        "data": [
            {"splits/name": split, "splits/images": count} for split, count in form.splits.items()
        ],
    }


def _class_set(name: str, names: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": f"classes-{name}",
        "name": f"classes-{name}",
        "description": f"Names of the classes of {name}, by number.",
        "dataType": "sc:Enumeration",
        "key": {"@id": f"classes-{name}/id"},
        "field": [
            {"@type": "cr:Field", "@id": f"classes-{name}/id", "dataType": "sc:Integer"},
            {"@type": "cr:Field", "@id": f"classes-{name}/name", "dataType": "sc:Text"},
        ],
        "data": [
            {f"classes-{name}/id": number, f"classes-{name}/name": text}
            for number, text in enumerate(names)
        ],
    }


def _image_set(
    form: Form, split: str, classes: Mapping[str, Sequence[str]], box: str | None, listed: bool
) -> dict[str, Any]:
    record, files = f"images-{split}", f"files-{split}"
    if form.builder == "imagefolder" or (form.builder == "webdataset" and listed):
        fields = _folder_fields(form, record, files, classes)
    elif form.builder == "parquet":
        fields = _column_fields(form, record, files, classes, box)
    else:
        fields = [_field(f"{record}/path", "sc:Text", {
            "fileSet": {"@id": files}, "extract": {"fileProperty": "fullpath"},
        })]  # fmt: skip
    fields.append(
        {
            "@type": "cr:Field",
            "@id": f"{record}/split",
            "dataType": "sc:Text",
            "value": split,
            "references": {"field": {"@id": "splits/name"}},
        }
    )
    return {
        "@type": "cr:RecordSet",
        "@id": record,
        "name": record,
        "description": f"Images of split {split}.",
        "field": fields,
    }


def _field(identity: str, kind: Any, source: Mapping[str, Any]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": identity, "dataType": kind, "source": dict(source)}


def _folder_fields(
    form: Form, record: str, files: str, classes: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    source = {"fileSet": {"@id": files}}
    fields = [
        _field(f"{record}/image", "sc:ImageObject",
               {**source, "extract": {"fileProperty": "content"}}),
        _field(f"{record}/path", "sc:Text", {**source, "extract": {"fileProperty": "fullpath"}}),
    ]  # fmt: skip
    if "label" in classes:
        fields.append(
            _field(
                f"{record}/label",
                "sc:Text",
                {
                    **source,
                    "extract": {"fileProperty": "fullpath"},
                    "transform": {"regex": r".*?([^/]+)/[^/]+$"},
                },
            ),
        )
    return fields


_TYPES = {
    "string": "sc:Text", "large_string": "sc:Text", "bool": "sc:Boolean", "int8": "sc:Integer",
    "int16": "sc:Integer", "int32": "sc:Integer", "int64": "sc:Integer", "uint8": "sc:Integer",
    "float32": "sc:Float", "float64": "sc:Float",
}  # fmt: skip


def _column_fields(
    form: Form, record: str, files: str, classes: Mapping[str, Sequence[str]], box: str | None
) -> list[dict[str, Any]]:
    fields = []
    for feature in form.features:
        name, kind = feature["name"], feature.get("dtype")
        source = {"fileSet": {"@id": files}, "extract": {"column": name}}
        if kind == "image":
            source["transform"] = {"jsonPath": "bytes"}
            fields.append(_field(f"{record}/{name}", "sc:ImageObject", source))
        elif isinstance(kind, str) and kind in _TYPES:
            fields.append(_field(f"{record}/{name}", _TYPES[kind], source))
        elif isinstance(kind, Mapping) and "class_label" in kind:
            field = _field(f"{record}/{name}", "sc:Integer", source)
            field["references"] = {"field": {"@id": f"classes-{name}/id"}}
            fields.append(field)
        elif isinstance(feature.get("list"), list):
            fields.append(_list_field(feature, f"{record}/{name}", source, box))
    return fields


def _list_field(
    feature: Mapping[str, Any], identity: str, source: Mapping[str, Any], box: str | None
) -> dict[str, Any]:
    """A column of objects; of a box, four numbers that are also a ``cr:BoundingBox``."""
    inner = []
    for one in feature["list"]:
        kind = one.get("dtype")
        field = _field(f"{identity}/{one['name']}", "sc:Integer", {
            **source, "transform": {"jsonPath": one["name"]},
        })  # fmt: skip
        if one["name"] == "bbox":
            field |= {"dataType": ["sc:Float", "cr:BoundingBox"], "isArray": True,
                      "arrayShape": "4"}  # fmt: skip
            if box:
                field["description"] = box
        elif isinstance(kind, str):
            field["dataType"] = _TYPES.get(kind, "sc:Text")
        inner.append(field)
    return {
        "@type": "cr:Field",
        "@id": identity,
        "isArray": True,
        "arrayShape": "-1",
        "subField": inner,
    }
