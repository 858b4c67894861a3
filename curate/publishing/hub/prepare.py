"""Build the whitelist of an upload, after the gate."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from curate.core.errors import DataError, UsageError
from curate.core.records import set_names
from curate.publishing import dataset as datasets
from curate.publishing.card import picture
from curate.publishing.card.check import CARD, CITATION, CROISSANT, format_json
from curate.publishing.card.citations import extract, format_evidence
from curate.publishing.card.run import Card, CardOptions, make_card, with_files
from curate.publishing.croissant.build import PublishedFile
from curate.publishing.dataset import Dataset
from curate.publishing.hub import convert, gate
from curate.publishing.hub.batches import PUBLICATION, LocalFile, exceeds_limits
from curate.publishing.hub.content import describe_file
from curate.publishing.hub.tree import FILES, PUBLIC_RECORDS, PUBLIC_RUN
from curate.publishing.hub.upload import Progress

WORK = ".curate-push"
"""Subfolder of the state folder with files that are written anew; nothing else is ever removed."""
_VERIFY = re.compile(r"(?m)^curate verify hf:[\w.-]+/[\w.-]+$")
_MAX_OBJECTS = 1_000
"""Files that ``croissant.json`` lists one by one; of more, only patterns are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """How to push.

    Args:
        public: make the repository public when all is there; else it is private.
        gated: ``auto`` or ``manual``: readers accept the terms of ``card.toml`` first.
        form: one of ``keep``, ``parquet``, ``webdataset``, ``imagefolder``; None for the layout's
            usual one.
        source: the run's SOURCE, to compare pixels and count records with, or None.
        reports: report files for the card, as for ``write_card``.
        template: the card's template, as for ``write_card``.
        full: download and check every file afterwards, rather than a sample.
        dry_run: send nothing; report what would be sent, and to where.
        withdraw: records to remove first, by id.
        parent: the commit that the repository is at, if somebody else made it.
        state: folder for the state and for shards; ``OUT.push`` if None.
        to: a folder or an fsspec URL to write to, instead of the Hub.
        workers: processes for verification.
        watch: called after every commit.
        notify: called with a line for the user.
    """

    public: bool = False
    gated: str | None = None
    form: str | None = None
    source: str | None = None
    reports: Sequence[Path] = ()
    template: Path | None = None
    full: bool = False
    dry_run: bool = False
    withdraw: Sequence[str] = ()
    parent: str | None = None
    state: Path | None = None
    to: str | None = None
    workers: int | None = None
    watch: Callable[[Progress], None] = field(default=lambda _: None)
    notify: Callable[[str], None] = field(default=lambda _: None)

    def __post_init__(self) -> None:
        set_names(self, "reports", "withdraw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A whitelist that passed the gate.

    Args:
        dataset: the dataset.
        card: its card.
        files: every file to send.
        digest: of the public tier of the manifest.
    """

    dataset: Dataset
    card: Card
    files: Sequence[LocalFile]
    digest: str

    @property
    def tag(self) -> str:
        """The tag of this version."""
        return f"curate-{self.digest[:16]}"


def prepare(out: Path, options: PushOptions, folder: Path, repo_id: str | None = None) -> Prepared:
    """Pass the gate, and build the whitelist.

    Args:
        out: the OUT.
        options: how to push.
        folder: the state folder.
        repo_id: the repository, which the card names; None for a folder or URL.

    Raises:
        GateError: if anything is wrong; nothing has been sent.
    """
    dataset = datasets.open_dataset(out)
    own = CardOptions(template=options.template, reports=options.reports)
    card = gate.check_dataset(
        dataset,
        options.source,
        options.workers,
        lambda form: make_card(dataset, replace(own, form=form)),
        options.form,
    )
    for note in card.notes:
        options.notify(note)
    if options.source is None and not dataset.is_correction:
        options.notify("OUT is compared with its manifest only; add --source SOURCE to do both")
    return _build(dataset, _name_uri(card, repo_id), folder, options)


def _name_uri(card: Card, repo_id: str | None) -> Card:
    """A card whose command that verifies has the URI of the published dataset."""
    uri = "." if repo_id is None else f"hf:{repo_id}"
    return replace(card, body=_VERIFY.sub(f"curate verify {uri}", card.body, count=1))


def _build(dataset: Dataset, card: Card, folder: Path, options: PushOptions) -> Prepared:
    """Convert, and write the files that only the repository has."""
    work = folder / WORK
    staging, public, made = work / "staging", work / "public", work / "made"
    datasets.save_public_tier(dataset, public)
    digest = datasets.digest_public_tier(public)
    if digest != card.publication["manifest_sha256"]:
        raise DataError(f"{dataset.out} changed while it was prepared; run the same command again")

    def watch(name: str, images: int) -> None:
        options.notify(f"wrote {name}")

    files = list(convert.iter_files(dataset, card.form, staging, watch))
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    if card.picture is not None:
        files.append(_save(made, picture.NAME, card.picture))
    license_file = dataset.out / "LICENSE"
    if license_file.is_file():
        files.append(describe_file("LICENSE", license_file))
    names = {file.path for file in files}
    for name, value in extract(card.documents, card.body).items():
        if name in (PUBLIC_RUN, PUBLICATION):
            continue
        if name in names:
            raise DataError(f"{name} of the dataset has the name of a report; rename the report")
        files.append(_save(made, name, format_evidence(name, value)))
    if limit := exceeds_limits([file.path for file in files]):
        raise UsageError(f"{limit}; use --as parquet")
    files.sort(key=lambda file: file.path)
    listing = "".join(_format_line(file) for file in files)
    listed = [
        PublishedFile(file.path, file.sha256, file.bytes)
        for file in files
        if file.path.endswith((".parquet", ".tar")) or not file.path.startswith("data/")
    ]
    card = with_files(card, listed if len(listed) <= _MAX_OBJECTS else ())
    saved = _save(made, CARD, card.text.encode())
    publication = {**card.publication, "card_sha256": saved.sha256}
    files += [
        _save(made, FILES, listing.encode()),
        _save(made, PUBLICATION, format_json(publication).encode()),
        saved,
        _save(made, CROISSANT, format_json(card.croissant).encode()),
        _save(made, CITATION, card.citation.encode()),
        *(
            describe_file(name, public / Path(name).name)
            for name in (PUBLIC_RUN, PUBLIC_RECORDS)
            if (public / Path(name).name).is_file()
        ),
    ]
    return Prepared(dataset=dataset, card=card, files=tuple(files), digest=digest)


def _format_line(file: LocalFile) -> str:
    value = {"bytes": file.bytes, "path": file.path, "sha256": file.sha256}
    return json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n"


def _save(folder: Path, name: str, data: bytes) -> LocalFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return describe_file(name, path)
