"""A card's Markdown from its template, its citation files, and the sections that people wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
import jinja2.sandbox
import yaml

from curate.core.errors import DataError
from curate.publishing.card.figures import (
    MIN_CELL,
    Documents,
    escape,
    find_hidden,
    format_figure,
    plain,
    resolve,
)
from curate.publishing.card.governance import DELAYED, NOTE, Row, as_of
from curate.publishing.card.questions import Answers
from curate.publishing.card.reviews import count_looked_at, count_reviewed

if TYPE_CHECKING:
    from curate.publishing.card.evidence import Evidence

_KEPT = re.compile(
    r"<!-- keep: (?P<name>[a-z0-9-]+) -->\n(?P<text>.*?)<!-- /keep: (?P=name) -->", re.DOTALL
)
COMMANDS: Mapping[str, str] = {
    "evaluate": "curate evaluate SOURCE --faces LABELS -o evaluate.json",
    "audit": "curate audit OUT/data --groups TABLE --by ATTRIBUTE -o audit.json",
    "balance": "curate balance OUT/data --groups TABLE --by ATTRIBUTE -o BALANCED",
    "impact": "curate impact evaluate SOURCE OUT -o impact.json",
    "train": "curate impact train SOURCE OUT -o train.json",
    "review": "curate review SOURCE --run OUT --sample",
    "attack": "curate card OUT --report attack.json",
}
"""The command that measures what a report would show; attacks are measured by other programs."""
_MAX_GROUPS = 60
_AUDITS = (
    ("before", "Before correction"),
    ("after", "After correction"),
    ("source", "In the source"),
    ("audit", "As published"),
)


_EMBEDDED = (
    (re.compile(r"data:\s*(?:image|application|video)/|;\s*base64\s*,", re.I), "a data: address"),
    (re.compile(r"<\s*(?:svg|object|embed|canvas|script)\b", re.I), "an element that can draw"),
    (re.compile(r"[A-Za-z0-9+/=_-]{400,}"), "a long run of letters and digits"),
    (re.compile(r"(?:^[^\S\n]*[A-Za-z0-9+/=_-]{40,}[^\S\n]*\n){6,}", re.M), "lines of base64"),
)
"""What could carry a picture into a card."""


_THRESHOLDS = {
    "confidence": "Minimum score of a face",
    "sure_face": "Minimum probability of a face, in an image with a sure one",
    "no_sure_face": "Minimum probability of a face, in other images",
    "crowd": "Minimum probability of a face, in a crowd",
    "small": "Minimum probability of a very small face",
}
"""Minimum scores of a detector, as the card names them."""


_KIND_NAMES = {
    "exif": "EXIF data",
    "gps": "places (GPS)",
    "embeddings": "embeddings",
    "landmarks": "landmarks of faces and bodies",
    "urls": "web addresses",
    "hashes": "digests of originals",
    "names": "names of people or accounts",
    "text": "free text",
    "unread": "files that were copied unread",
}
"""Kinds of what annotations contain, as the card names them."""


def find_embedded(text: str) -> str | None:
    """What in a card could be a picture, or None; a card links to pictures and holds none."""
    return next((what for pattern, what in _EMBEDDED if pattern.search(text)), None)


def find_kept(body: str) -> dict[str, str]:
    """The sections of a card that people wrote, by name."""
    return {found["name"]: found["text"] for found in _KEPT.finditer(body)}


def without_kept(body: str) -> str:
    """A card's body with every section that people wrote left empty."""
    return _KEPT.sub(lambda found: f"<!-- keep: {found['name']} -->", body)


def make_context(
    answers: Answers,
    documents: Documents,
    evidence: Evidence,
    governance: Sequence[Row],
    kept: Mapping[str, str],
) -> dict[str, Any]:
    """What a template can use; see ``curate/publishing/README.md``.

    Args:
        answers: the answers of ``card.toml``.
        documents: everything that pointers lead into.
        evidence: the reports.
        governance: the governance table.
        kept: sections that people wrote, by name.
    """
    run, publication = documents["manifest/run.json"], documents["manifest/publication.json"]
    used: set[str] = set()

    def keep(name: str, default: str) -> str:
        used.add(name)
        text = kept.get(name, f"{default}\n" if default else "")
        return f"<!-- keep: {name} -->\n{text}<!-- /keep: {name} -->"

    def has(pointer: str) -> bool:
        try:
            return resolve(documents, pointer) is not None
        except DataError:
            return False

    def interval(pointer: str) -> str:
        return format_figure(documents, f"{pointer}/interval", "interval")

    return {
        **_answer_context(answers),
        "figure": lambda pointer, form: format_figure(documents, pointer, form),
        "interval": interval,
        "has": has,
        "value": lambda pointer: resolve(documents, pointer),
        "min_cell": MIN_CELL,
        "keep": keep,
        "plain": plain,
        "escape": escape,
        "kept_names": used,
        "correction": run.get("kind") == "correction",
        "faces_given": run.get("faces_given", False),
        "reviews": len(reviews := run.get("given_faces", {}).get("reviews", ())),
        "reviewed": [count_looked_at(review) > 0 for review in reviews],
        "looked_at": count_reviewed(evidence.documents.get(evidence.names.get("review", ""))),
        "profile": _find_profile(run),
        "thresholds": [
            (_THRESHOLDS[name], f"manifest/publication.json#/thresholds/{name}")
            for name in publication.get("thresholds", {})
        ],
        "detectors": len(run.get("detectors", ())),
        "weights": [sorted(model["weights_sha256"]) for model in run.get("detectors", ())],
        "splits": list(publication["splits"]),
        "reasons": list(publication["reasons"]),
        "sidecars": [(kind, list(keys)) for kind, keys in publication["sidecars"].items()],
        "kind_names": _KIND_NAMES,
        "unread": publication.get("unread", 0),
        "objects_box": publication.get("objects_box"),
        "evaluated": publication.get("evaluated", {}),
        "reports": evidence.names,
        "commands": COMMANDS,
        "evaluated_groups": list(_iter_evaluated(evidence))[:_MAX_GROUPS],
        "audits": list(_iter_audits(evidence)),
        "counted": {
            name: "people" if _per(document) == "person" else "records"
            for name, document in evidence.documents.items()
        },
        "governance": [asdict_row(row) for row in governance],
        "governance_note": NOTE,
        "governance_as_of": as_of(),
        "governance_dates": DELAYED,
    }


def _find_profile(run: Mapping[str, Any]) -> str | None:
    """Pointer to the profile of the detector that found the faces; None if it is not recorded."""
    given = "given_faces/" if run.get("faces_given") else ""
    recipe = run.get("given_faces", {}).get("recipe", {}) if given else run.get("recipe", {})
    return f"manifest/run.json#/{given}recipe/profile" if "profile" in recipe else None


def asdict_row(row: Row) -> dict[str, str]:
    """A governance row as plain values."""
    return {key: str(value) for key, value in asdict(row).items()}


def _answer_context(answers: Answers) -> dict[str, Any]:
    name, mail = answers["maintainer.name"], answers["maintainer.email"]
    link = answers["dataset.license_link"] or ""
    license_text = answers["dataset.license"]
    if license_text == "other":
        license_text = f"{answers['dataset.license_name']} ({link})"
    source = plain(answers["dataset.source"])
    if answers["dataset.source_url"]:
        source += f" ({plain(answers['dataset.source_url'])})"
    optional = {
        key: plain(answers[f"use.{key}"]) if answers[f"use.{key}"] else ""
        for key in ("limitations", "biases", "sensitive")
    }
    return {
        "title": plain(answers["dataset.title"]),
        "description": plain(answers["dataset.description"]),
        "version": answers["dataset.version"],
        "date": answers["dataset.date"],
        "license": plain(license_text),
        "maintainer": plain(name),
        "contact": f"{plain(name)}, {plain(mail)}",
        "source": source,
        "url": plain(answers["dataset.url"]),
        "repo_id": _repo_id(answers["dataset.url"]),
        "intended": plain(answers["use.intended"]),
        "out_of_scope": plain(answers["use.out_of_scope"]),
        "removal_contact": plain(answers["removal.contact"]),
        "removal_days": answers["removal.days"],
        "changelog": answers.changelog,
        "bibtex": format_bibtex(answers),
        **optional,
    }


def _iter_evaluated(evidence: Evidence) -> Iterator[tuple[str, str | None]]:
    """Groups of faces that a detector was measured on, each with a pointer, or None if small."""
    name = evidence.names.get("evaluate")
    if name is None:
        return
    report = evidence.documents[name]
    for number, group in enumerate(report.get("by_height", [])):
        at = f"{name}#/by_height/{number}/measures/hidden"
        if group["faces"]:
            yield f"{group['name']} px high", at if group["faces"] >= MIN_CELL else None
    for attribute, found in report.get("by", {}).items():
        hidden = find_hidden({group["name"]: group["faces"] for group in found["groups"]})
        for number, group in enumerate(found["groups"]):
            at = f"{name}#/by/{escape(attribute)}/groups/{number}/measures/hidden"
            yield f"{attribute}: {group['name']}", None if group["name"] in hidden else at


_HUB_PAGE = re.compile(r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)/?", re.ASCII)


def _repo_id(url: str) -> str:
    """The repository whose page a home page is, or a placeholder."""
    found = _HUB_PAGE.fullmatch(url)
    return found[1] if found else "OWNER/NAME"


def _per(document: Any) -> str:
    reading = document.get("reading") if isinstance(document, dict) else None
    return str(reading.get("per")) if isinstance(reading, dict) else ""


def _iter_audits(evidence: Evidence) -> Any:
    for kind, stage in _AUDITS:
        if kind not in evidence.names:
            continue
        name = evidence.names[kind]
        attributes = evidence.documents[name].get("attributes", {})
        listed = [
            (attribute, _shown_groups(found["groups"])) for attribute, found in attributes.items()
        ]
        if listed:
            yield stage, name, listed


def _shown_groups(groups: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Names of groups, and whether their counts are shown."""
    hidden = find_hidden({name: group.get("count") for name, group in groups.items()})
    return [(name, name not in hidden) for name in groups][:_MAX_GROUPS]


def render_body(context: Mapping[str, Any], template: str | None, kept: Mapping[str, str]) -> str:
    """A card's Markdown, without its header.

    Args:
        context: as `make_context` makes it.
        template: a Jinja template to use instead of the package's own, or None.
        kept: sections that people wrote; those that the template has no place for come last.

    A template of a user is rendered by ``template.py``, which limits it.
    """
    text = template
    if text is None:
        text = (files("curate.publishing.card") / "card.md.j2").read_text(encoding="utf-8")
    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    body = environment.from_string(text).render(context)
    rest = [name for name in kept if name not in context["kept_names"]]
    blocks = [f"<!-- keep: {name} -->\n{kept[name]}<!-- /keep: {name} -->" for name in rest]
    body = re.sub(r"\n{3,}", "\n\n", body.rstrip())
    body = _join_paragraphs(body)
    return "\n\n".join([body, *blocks]) + "\n"


def _join_paragraphs(body: str) -> str:
    """Markdown in which no line of a paragraph begins with a comment, which would end it."""
    lines: list[str] = []
    for line in body.split("\n"):
        inside = (
            bool(lines) and bool(lines[-1]) and not lines[-1].startswith(("#", "|", "<", "```"))
        )
        if inside and line.startswith("<!-- figure: "):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines)


def format_bibtex(answers: Answers) -> str:
    """The dataset as a BibTeX entry."""
    key = re.sub(r"[^a-z0-9]+", "-", str(answers["dataset.title"]).lower()).strip("-") or "dataset"
    fields = {
        "title": f"{{{_tex(answers['dataset.title'])}}}",
        "author": " and ".join(map(_tex, answers["citation.authors"])),
        "year": str(answers["dataset.date"])[:4],
        "version": answers["dataset.version"],
        "url": answers["dataset.url"],
    }
    if answers["citation.doi"]:
        fields["doi"] = answers["citation.doi"]
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{key},\n{lines}\n}}"


def _tex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", " ".join(str(text).split()))


_SPDX = {
    "apache-2.0": "Apache-2.0", "mit": "MIT", "cc0-1.0": "CC0-1.0", "odc-by": "ODC-By-1.0",
    "odbl": "ODbL-1.0", "pddl": "PDDL-1.0", "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "cdla-permissive-1.0": "CDLA-Permissive-1.0", "cdla-sharing-1.0": "CDLA-Sharing-1.0",
    "etalab-2.0": "etalab-2.0", "c-uda": "C-UDA-1.0", "bsd-3-clause": "BSD-3-Clause",
}  # fmt: skip


def spdx_of(license_id: str) -> str | None:
    """The SPDX identifier of a license of the Hub's list, or None where there is none."""
    if license_id.startswith("cc-by") and license_id[-1].isdigit():
        return license_id.upper()
    return _SPDX.get(license_id)


def format_citation(answers: Answers) -> str:
    """``CITATION.cff``, version 1.2.0."""
    authors = []
    for author in answers["citation.authors"]:
        family, comma, given = author.partition(",")
        names = {"family-names": family.strip(), "given-names": given.strip()}
        authors.append(names if comma else {"name": author.strip()})
    value = {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it as below.",
        "type": "dataset",
        "title": answers["dataset.title"],
        "version": answers["dataset.version"],
        "date-released": str(answers["dataset.date"]),
        "authors": authors,
        "url": answers["dataset.url"],
        "abstract": answers["dataset.description"],
        "license": spdx_of(answers["dataset.license"]),
        "doi": answers["citation.doi"],
    }
    plain_values = {key: item for key, item in value.items() if item}
    return str(yaml.safe_dump(plain_values, sort_keys=False, allow_unicode=True, width=100))
