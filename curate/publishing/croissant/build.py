"""Croissant 1.1 with the RAI vocabulary, as JSON-LD: distribution, record sets, provenance.

Names are those of the specification. ``mlcroissant`` 1.1 misspells two of them
(``dataManipulationProtocol`` and ``dataCollectionTimeframe``), and so would not write them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate.publishing.card.questions import QUESTIONS, Answers
from curate.publishing.card.render import format_bibtex, spdx_of
from curate.publishing.form import Form

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
NEURIPS_2026 = (
    "rai:dataLimitations", "rai:dataBiases", "rai:personalSensitiveInformation",
    "rai:dataUseCases", "rai:dataSocialImpact", "rai:hasSyntheticData", "prov:wasDerivedFrom",
    "prov:wasGeneratedBy",
)  # fmt: skip
"""The properties that NeurIPS 2026 requires of a dataset's Croissant file."""

CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of the distribution whose digest is known.

    Args:
        path: in the repository.
        sha256: of its content.
        bytes: its size.
    """

    path: str
    sha256: str
    bytes: int


def build_croissant(
    answers: Answers,
    form: Form,
    documents: Mapping[str, Any],
    files: Sequence[PublishedFile],
    box: str | None,
) -> dict[str, Any]:
    """The content of ``croissant.json``.

    Args:
        answers: what ``card.toml`` says.
        form: how the dataset is published.
        documents: ``manifest/run.json`` and ``manifest/publication.json``.
        files: files of the distribution with their digests.
        box: what the numbers of a box are, or None where there are none.
    """
    license_id = spdx_of(answers["dataset.license"])
    url = f"https://spdx.org/licenses/{license_id}" if license_id else None
    kind = "Organization" if answers["maintainer.kind"] == "organization" else "Person"
    creator = {"@type": kind, "name": answers["maintainer.name"]}
    creator |= {"email": answers["maintainer.email"]}
    if answers["maintainer.url"]:
        creator["url"] = answers["maintainer.url"]
    if answers["maintainer.orcid"]:
        creator["sameAs"] = f"https://orcid.org/{answers['maintainer.orcid']}"
    return {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "name": _name(answers["dataset.title"]),
        "alternateName": answers["dataset.title"],
        "description": answers["dataset.description"],
        "conformsTo": list(CONFORMS_TO),
        "license": url or answers["dataset.license_link"] or answers["dataset.license"],
        "url": answers["dataset.url"],
        "version": answers["dataset.version"],
        "datePublished": str(answers["dataset.date"]),
        "creator": creator,
        "keywords": ["image", "face obfuscation", *answers["dataset.tags"]],
        "citeAs": format_bibtex(answers),
        **_rai(answers, documents),
        **_provenance(answers, documents),
        "distribution": _distribution(form, files),
        "recordSet": _record_sets(form, box),
    }


def _name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", title).strip("-") or "dataset"


def _rai(answers: Answers, documents: Mapping[str, Any]) -> dict[str, Any]:
    """What people answered, and what the run itself shows."""
    found: dict[str, Any] = {}
    for question in QUESTIONS:
        value = answers[question.key]
        if question.rai and value not in (None, "", []):
            found[f"rai:{question.rai}"] = value
    run = documents["manifest/run.json"]
    method = run.get("obfuscator", {})
    protocol = [
        "Faces were detected and hidden by curate; "
        f"method {method['name']}, margin {method['margin']:g}, keeps {method['keeps']}."
        if method
        else f"Representation was corrected by curate balance, {run['recipe']['strategy']}."
    ]
    found["rai:dataManipulationProtocol"] = protocol[0]
    found["rai:dataPreprocessingProtocol"] = (
        "Metadata outside an allow-list was removed; images that could not be processed to the end "
        "were withheld."
    )
    detectors = [
        f"{model['name']} ({model['package']} {model['version']})"
        for model in run.get("detectors", ())
    ]
    if detectors:
        found["rai:machineAnnotationTools"] = detectors
    counts = run["counts"]
    missing = [f"{counts['withheld']} of {counts['images']} images were withheld"]
    missing += [
        f"{count} {reason}"
        for reason, count in documents["manifest/publication.json"]["reasons"].items()
    ]
    found["rai:dataCollectionMissingData"] = "; ".join(missing)
    return found


def _provenance(answers: Answers, documents: Mapping[str, Any]) -> dict[str, Any]:
    """PROV: the source, the activity with its recipe, and the output."""
    run = documents["manifest/run.json"]
    source: dict[str, Any] = {
        "@type": "prov:Entity", "@id": "source", "prov:label": answers["dataset.source"],
    }  # fmt: skip
    if answers["dataset.source_url"]:
        source["prov:atLocation"] = answers["dataset.source_url"]
    agent = {
        "@type": "prov:SoftwareAgent",
        "@id": "curate",
        "prov:label": f"{run['tool']['name']} {run['tool']['version']}",
    }
    command = "curate balance" if run.get("kind") == "correction" else "curate blur"
    activity = {
        "@type": "prov:Activity",
        "@id": "curation",
        "prov:label": command,
        "prov:used": {"@id": "source"},
        "prov:wasAssociatedWith": agent,
        "prov:hadPlan": {
            "@type": "prov:Plan",
            "@id": "recipe",
            "prov:value": _canonical(run["recipe"]),
        },
    }
    return {"prov:wasDerivedFrom": source, "prov:wasGeneratedBy": activity}


def _canonical(value: Any) -> str:
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


_MIME = {
    "parquet": "application/x-parquet", "tar": "application/x-tar", "jpg": "image/jpeg",
    "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif",
    "tif": "image/tiff", "tiff": "image/tiff", "bmp": "image/bmp", "json": "application/json",
    "jsonl": "application/jsonlines", "csv": "text/csv", "xml": "application/xml",
    "txt": "text/plain", "yaml": "application/yaml",
}  # fmt: skip


def _mime(path: str) -> str:
    return _MIME.get(path.rpartition(".")[2].lower(), "application/octet-stream")


def _distribution(form: Form, files: Sequence[PublishedFile]) -> list[dict[str, Any]]:
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"files-{split}",
            "name": f"files-{split}",
            "description": f"Files of split {split}.",
            "encodingFormat": sorted(
                {_mime(pattern) for pattern in patterns if "/metadata." not in pattern}
            ),
            "includes": [pattern for pattern in patterns if "/metadata." not in pattern],
        }
        for split, patterns in form.data_files.items()
    ]
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": _mime(file.path),
            "sha256": file.sha256,
        }
        for file in files
    ]
    return [*objects, *sets]


def _record_sets(form: Form, box: str | None) -> list[dict[str, Any]]:
    sets = [_split_set(form)]
    classes = dict(_iter_classes(form.features, ""))
    sets += [_class_set(name, names) for name, names in classes.items()]
    sets += [_image_set(form, split, classes, box) for split in form.data_files]
    return sets


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


def _iter_classes(features: Sequence[Mapping[str, Any]], prefix: str) -> Any:
    """Names of classes by column, of lists of structs too."""
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
                yield from _iter_classes(inner, f"{name}/")


def _image_set(
    form: Form, split: str, classes: Mapping[str, Sequence[str]], box: str | None
) -> dict[str, Any]:
    record, files = f"images-{split}", f"files-{split}"
    if form.builder == "imagefolder":
        fields = _folder_fields(form, record, files, classes)
    elif form.builder == "parquet":
        fields = _column_fields(form, record, files, classes, box)
    else:
        fields = [_field(f"{record}/content", "sc:Text", {
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


def find_missing(croissant: Mapping[str, Any]) -> list[str]:
    """Properties of `NEURIPS_2026` that are absent or empty."""
    return [name for name in NEURIPS_2026 if croissant.get(name) in (None, "", [], {})]
