"""Write and check the card of an OUT: reading and writing; what is decided is in its siblings."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2

from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError, describe_choice
from curate.core.records import set_names
from curate.detectors.thresholds import describe_thresholds
from curate.layouts.access.address import is_address
from curate.manifest.checksums import load_checksums, update_checksums
from curate.manifest.files import Problem
from curate.pipeline.object_output import fetched
from curate.publishing import dataset as datasets
from curate.publishing.card import governance, picture, render
from curate.publishing.card.check import (
    CARD,
    CITATION,
    CROISSANT,
    QUESTIONS,
    Difference,
    check_profile,
    format_json,
    iter_differences,
    iter_faults,
    load_card,
    load_text,
)
from curate.publishing.card.citations import find_cited
from curate.publishing.card.evidence import Evidence, ReportError, load_evidence
from curate.publishing.card.header import check_header, format_header, make_header
from curate.publishing.card.questions import Answers, format_template, parse_answers
from curate.publishing.card.template import Sources, render_template
from curate.publishing.croissant.build import PublishedFile, build_croissant
from curate.publishing.croissant.validate import validate
from curate.publishing.dataset import Dataset
from curate.publishing.form import FORMS, WITH_OBJECTS, Form
from curate.publishing.publication import check_class_names, describe_form
from curate.recipe import VERSION
from curate.report.document import Printable
from curate.storage.atomic import save_bytes

PROFILES = ("neurips2026", "eu")
PUBLICATION_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOptions:
    """How to write a card.

    Args:
        init: write ``card.toml`` with every question, and nothing else.
        check: write nothing; compare the card with its evidence.
        template: a Jinja template to use instead of the package's own.
        reports: report files; those beside OUT are found without.
        form: one of ``keep``, ``parquet``, ``webdataset``, ``imagefolder``; None for the layout's
            usual one.
        profile: ``neurips2026`` or ``eu``, which refuse a card that lacks what they ask for.
    """

    init: bool = False
    check: bool = False
    template: Path | None = None
    reports: Sequence[Path] = ()
    form: str | None = None
    profile: str | None = None

    def __post_init__(self) -> None:
        set_names(self, "reports")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CardReport(Printable):
    """What became of a card.

    Args:
        written: the files that were written.
        problems: how the card differs from its evidence.
        notes: what a user should know; one line each.
    """

    written: tuple[Path, ...] = ()
    problems: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    def to_text(self) -> str:
        """What was written, and how the card differs from its evidence, a line each."""
        names = ", ".join(path.name for path in self.written) or "nothing"
        problems = (f"{problem.file}: {problem.reason}" for problem in self.problems)
        head = f"Wrote {names}; {len(self.problems):,} problems."
        return "\n".join([head, *problems, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card as its evidence makes it now.

    Args:
        answers: the answers of ``card.toml``.
        form: how the dataset is published.
        header: the YAML header.
        body: the Markdown.
        croissant: the content of ``croissant.json``.
        citation: the content of ``CITATION.cff``.
        picture: the example before and after, or None.
        publication: the content of ``manifest/publication.json``.
        documents: everything that pointers lead into.
        rows: the governance table.
        notes: what a user should know.
    """

    answers: Answers
    form: Form
    header: Mapping[str, Any]
    body: str
    croissant: Mapping[str, Any]
    citation: str
    picture: bytes | None
    publication: Mapping[str, Any]
    documents: Mapping[str, Any]
    rows: Sequence[governance.Row]
    notes: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """The content of ``README.md``."""
        return f"---\n{format_header(self.header)}---\n\n{self.body}"


@checked
def write_card(out: str | Path, options: CardOptions | None = None) -> CardReport:
    """Write ``README.md``, ``croissant.json`` and ``CITATION.cff`` of a finished OUT.

    Args:
        out: the OUT of ``curate blur`` or ``curate balance``; a path or a URI.
        options: how; the defaults if None.

    Returns:
        What was written, or with ``check`` how the card differs from its evidence.

    Raises:
        DataError: if ``card.toml`` or a report cannot be used, or a profile's fields are empty.
        ManifestError: if there is no manifest.
        UsageError: if the options contradict each other.
        MissingExtraError: if a package of the extra ``publish`` is not installed.

    >>> import curate
    >>> curate.write_card("out", curate.CardOptions(init=True))  # doctest: +SKIP
    """
    if is_address(str(out)):
        with fetched(out) as copy:
            report = write_card(copy, options)
        written = tuple(path.relative_to(copy) for path in report.written)
        return replace(report, written=written)
    options, out = options or CardOptions(), Path(out)
    if options.profile is not None and options.profile not in PROFILES:
        raise UsageError(describe_choice("profile", options.profile, PROFILES))
    if options.init:
        return _write_questions(out)
    dataset = datasets.open_dataset(out)
    card = make_card(dataset, options)
    if options.profile:
        check_profile(card, options.profile)
    if options.check:
        return CardReport(problems=tuple(iter_differences(out, card)), notes=card.notes)
    written = tuple(_save(out, card))
    listed = [QUESTIONS] if QUESTIONS in load_checksums(out) else []
    update_checksums(out, [*listed, *(path.name for path in written)])
    return CardReport(written=written, notes=card.notes)


def _write_questions(out: Path) -> CardReport:
    datasets.open_dataset(out)
    path = out / QUESTIONS
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(format_template())
    except FileExistsError:
        raise UsageError(f"{path} exists; edit it, or remove it first") from None
    return CardReport(written=(path,))


def load_answers(out: Path) -> Answers:
    """The answers of an OUT's ``card.toml``.

    Raises:
        DataError: if it is absent or has faults.
    """
    path = out / QUESTIONS
    try:
        return parse_answers(load_text(path), QUESTIONS)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing; run `curate card {shlex.quote(str(out))} --init`, answer its "
            "questions, run again"
        ) from None


def _nest(answers: Answers) -> dict[str, Any]:
    """The answers that ``card.toml`` has, as tables, for pointers into it; no defaults."""
    tables: dict[str, Any] = {}
    for key in answers.given:
        head, _, name = key.partition(".")
        tables.setdefault(head, {})[name] = answers[key]
    return tables


def make_card(dataset: Dataset, options: CardOptions, form: Form | None = None) -> Card:
    """A card as its evidence makes it now; nothing is written to OUT.

    Args:
        dataset: the dataset.
        options: how.
        form: how the dataset is published; worked out if None.
    """
    answers = load_answers(dataset.out)
    form = form or describe_form(dataset, options.form)
    check_class_names(form)
    before, body = load_card(dataset.out)
    evidence = load_evidence(dataset, options.reports, cited=find_cited(body).keys())
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder) / "public"
        run = datasets.save_public_tier(dataset, public)
        publication = describe_publication(
            dataset, answers, form, datasets.digest_public_tier(public)
        )
    publication["evaluated"] = _compare_evaluated(dataset, evidence)
    documents = {
        **evidence.documents,
        "manifest/run.json": run,
        "manifest/publication.json": publication,
        QUESTIONS: _nest(answers),
    }
    header = make_header(answers, form, before)
    check_header(header)
    kept = render.find_kept(body)
    rows = governance.make_rows(documents, evidence.names, answers.governance)
    sources = (answers, documents, evidence, rows, kept)
    croissant = build_croissant(answers, form, documents, (), publication["objects_box"])
    validate(croissant)
    if options.template is None:
        text = _render(sources)
    else:
        text = render_template(options.template, _load_template(options.template), sources)
    if embedded := render.find_embedded(f"{format_header(header)}\n{text}"):
        raise DataError(
            f"{CARD}: it would hold {embedded}, which could be a picture; take it out of "
            f"{QUESTIONS}, the template or the kept sections"
        )
    return Card(
        answers=answers,
        form=form,
        header=header,
        body=text,
        croissant=croissant,
        citation=render.format_citation(answers),
        picture=picture.draw_example(run["obfuscator"]) if "obfuscator" in run else None,
        publication=publication,
        documents=documents,
        rows=rows,
        notes=(*evidence.notes, *([form.note] if form.note else [])),
    )


def _render(sources: Sources) -> str:
    """The body by the package's template, which only a damaged report keeps from being rendered."""
    try:
        return render.render_body(render.make_context(*sources), None, sources[-1])
    except (DataError, jinja2.TemplateError, ArithmeticError, AttributeError, LookupError,
            TypeError, ValueError) as error:  # fmt: skip
        names = sources[2].documents
        name = next((name for name in names if str(error).startswith(name)), ", ".join(names))
        what = str(error).removeprefix(f"{name} ").removeprefix(name)
        raise ReportError(name or CARD, f"cannot be used: {what}; make the report again") from None


def _load_template(path: Path) -> str:
    try:
        return load_text(path)
    except OSError as error:
        raise DataError(f"--template {path} cannot be read: {error.strerror}") from None


def describe_publication(
    dataset: Dataset, answers: Answers, form: Form, manifest_sha256: str
) -> dict[str, Any]:
    """The content of ``manifest/publication.json``: what is published, in which form."""
    counts = dataset.facts["counts"]
    content, unread = datasets.load_content(dataset)
    with_faces = {} if dataset.is_correction else {"images_with_faces": counts["images_with_faces"]}
    return {
        "version": PUBLICATION_VERSION,
        "title": answers["dataset.title"],
        "dataset_version": answers["dataset.version"],
        "form": form.name,
        "layout": dataset.layout,
        "builder": form.builder,
        "manifest_sha256": manifest_sha256,
        "counts": with_faces,
        "thresholds": _find_thresholds(dataset),
        "reasons": datasets.count_withheld(dataset),
        "splits": dict(form.splits),
        "sidecars": content.kinds(),
        "unread": unread,
        "objects_box": _box_of(dataset, form),
    }


def _compare_evaluated(dataset: Dataset, evidence: Evidence) -> dict[str, int]:
    """How many of a sample of the images that a detector was evaluated on are of the source."""
    if "evaluate" not in evidence.names:
        return {}
    sample = set(evidence.documents[evidence.names["evaluate"]]["source"]["sample"])
    found = datasets.find_sources(dataset, sample) if sample else None
    return {} if found is None else {"compared": len(sample), "in_source": len(found)}


def _find_thresholds(dataset: Dataset) -> dict[str, float]:
    """Minimum scores of the run's detector; none of given faces or of another release's recipe."""
    recipe = dataset.facts["recipe"]
    if dataset.is_correction or recipe.get("faces_sha256") or recipe.get("version") != VERSION:
        return {}
    return describe_thresholds(recipe["detector"], recipe["profile"], recipe["confidence"])


def _box_of(dataset: Dataset, form: Form) -> str | None:
    if form.name == "keep" or dataset.layout not in WITH_OBJECTS:
        return None
    from curate.publishing.hub.objects import CocoObjects, VocObjects, YoloObjects

    kinds = {"coco": CocoObjects.box, "voc": VocObjects.box, "yolo": YoloObjects.box}
    return kinds[dataset.layout]


def _save(out: Path, card: Card) -> Iterator[Path]:
    texts = {
        CARD: card.text.encode(),
        CROISSANT: format_json(card.croissant).encode(),
        CITATION: card.citation.encode(),
    }
    if card.picture is not None:
        texts[picture.NAME] = card.picture
    for name, data in texts.items():
        save_bytes(out / name, data)
        yield out / name


def iter_card_problems(out: Path) -> Iterator[Problem]:
    """What is wrong with the card of an OUT, for ``curate verify``; nothing if there is none."""
    if not any((out / name).exists() for name in (CARD, CROISSANT, CITATION, picture.NAME)):
        return  # card.toml alone: it is being answered
    try:
        dataset = datasets.open_dataset(out)
        usual = make_card(dataset, CardOptions())
        cards: list[Card | None] = [usual]
        written, _ = load_card(out)
        if written.get("configs") != usual.header["configs"]:
            cards += [_other_form(dataset, form) for form in FORMS if form != usual.form.name]
    except DataError as error:
        yield from iter_faults(out, error)
        return
    found: list[Difference] = []
    for card in cards:
        found = list(iter_differences(out, card)) if card is not None else found
        if not found:
            return
    for difference in found[:1] if len(cards) > 1 else found:
        yield Problem("card", difference.file, difference.reason)


def _other_form(dataset: Dataset, form: str) -> Card | None:
    """The card of a form that was asked for with ``--as``; None where there is no such form."""
    with contextlib.suppress(UsageError):
        return make_card(dataset, CardOptions(form=form))
    return None


def with_files(card: Card, files: Sequence[PublishedFile]) -> Card:
    """A card whose Croissant names the files of the distribution with their digests."""
    croissant = build_croissant(
        card.answers, card.form, card.documents, files, card.publication["objects_box"]
    )
    validate(croissant)
    return replace(card, croissant=croissant)
