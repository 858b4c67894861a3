"""Croissant 1.1 with the RAI vocabulary, as JSON-LD: distribution, record sets, provenance.

Names are those of the specification. ``mlcroissant`` 1.1 misspells two of them
(``dataManipulationProtocol`` and ``dataCollectionTimeframe``), and so would not write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from curate.publishing.card.questions import QUESTIONS, Answers
from curate.publishing.card.render import format_bibtex, spdx_of
from curate.publishing.card.reviews import count_looked_at
from curate.publishing.croissant.records import build_record_sets
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
        answers: the answers of ``card.toml``.
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
        "recordSet": build_record_sets(form, box, bool(files)),
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
        f"{_describe_finding(run)} and hidden by curate; "
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


def _describe_finding(run: Mapping[str, Any]) -> str:
    """How the faces were found: the start of a sentence."""
    if not run.get("faces_given"):
        return "Faces were detected"
    reviews = run.get("given_faces", {}).get("reviews", ())
    most = max(reviews, key=count_looked_at, default=None)
    if most is None or not count_looked_at(most):
        return "Faces were given by a file,"
    images = sum(most["states"].values())
    return (
        f"Faces were given by a file after people looked at {count_looked_at(most):,} of "
        f"{images:,} images,"
    )


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
    return [*objects, *_iter_sets(form, [file.path for file in files])]


def _iter_sets(form: Form, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The files of each split: its images, the images in its archives, its tables of boxes."""
    for split, patterns in form.data_files.items():
        tables = [pattern for pattern in patterns if "/metadata." in pattern]
        images = [pattern for pattern in patterns if pattern not in tables]
        archives = [path for path in paths if any(fnmatchcase(path, one) for one in images)]
        if form.builder == "webdataset" and archives:
            names = [f"*.{feature['name']}" for feature in form.features
                     if feature.get("dtype") == "image"]  # fmt: skip
            inside = {"containedIn": [{"@id": path} for path in archives]}
            yield _file_set(f"files-{split}", f"Images of split {split}.", names, inside)
        else:
            yield _file_set(f"files-{split}", f"Files of split {split}.", images)
        if tables and form.name == "imagefolder":
            yield _file_set(f"boxes-{split}-files", f"Boxes of split {split}.", tables)


def _file_set(
    name: str, description: str, patterns: Sequence[str], more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A file set; of ``**``, which some readers take for one folder or more, both readings."""
    includes = dict.fromkeys(
        one for each in patterns for one in ([each.replace("/**/", "/"), each])
    )
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        **(more or {}),
        "encodingFormat": sorted({_mime(pattern) for pattern in patterns}),
        "includes": list(includes),
    }


def find_missing(croissant: Mapping[str, Any]) -> list[str]:
    """Properties of `NEURIPS_2026` that are absent or empty."""
    return [name for name in NEURIPS_2026 if croissant.get(name) in (None, "", [], {})]
