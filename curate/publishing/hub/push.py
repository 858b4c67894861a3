"""Push a finished dataset: gate, whitelist, upload, tag, and a look at what arrived."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.publishing import dataset as datasets
from curate.publishing.card import picture
from curate.publishing.card.header import format_header
from curate.publishing.card.run import (
    CARD,
    CITATION,
    CROISSANT,
    QUESTIONS,
    Card,
    CardOptions,
    format_json,
    make_card,
    with_files,
    write_card,
)
from curate.publishing.croissant.build import PublishedFile
from curate.publishing.dataset import Dataset
from curate.publishing.hub import convert, gate
from curate.publishing.hub.batches import PUBLICATION, LocalFile, RemoteFile, exceeds_limits
from curate.publishing.hub.content import describe_file
from curate.publishing.hub.export import export_tree
from curate.publishing.hub.published import (
    FILES,
    PUBLIC_RECORDS,
    PUBLIC_RUN,
    Listed,
    RemoteTree,
    iter_problems,
    load_listing,
)
from curate.publishing.hub.remote import MovedError, Remote, check_repo_id
from curate.publishing.hub.state import State, load_state
from curate.publishing.hub.upload import PROGRESS_MARK, Progress, Upload, save_notice, send
from curate.publishing.hub.withdraw import withdraw
from curate.storage.atomic import save_text
from curate.storage.lock import FolderLock

GATES = ("auto", "manual")
_MOST_OBJECTS = 1_000
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
        tell: called with a line for the user.
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
    tell: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What a push did, or with ``dry_run`` would do.

    Args:
        to: where it went.
        form: the form in which it was published.
        version: the dataset's version.
        files: paths and bytes of the whitelist.
        changes: how it differs from the version that was there, a line each.
        revision: the commit, or None of a dry run or an export.
        tag: its tag, or None.
        checked: files that were downloaded again and compared.
        dry_run: whether nothing was sent.
    """

    to: str
    form: str
    version: str
    files: Mapping[str, int]
    changes: tuple[str, ...] = ()
    revision: str | None = None
    tag: str | None = None
    checked: int = 0
    dry_run: bool = False


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


def push(
    out: str | Path, repo_id: str | None = None, options: PushOptions | None = None
) -> PushReport:
    """Upload a finished dataset to the Hugging Face Hub, or write it to a folder or URL.

    Before anything is sent the OUT is verified, and the upload is built from its manifest alone.
    An interrupted push is finished by the same call.

    Args:
        out: the OUT of ``curate blur`` or ``curate balance``, with its card.
        repo_id: ``owner/name``; None with ``options.to``.
        options: how; the defaults if None: a private repository.

    Raises:
        UsageError: if the request contradicts itself.
        GateError: if OUT must not be published; nothing was sent.
        DataError: if the repository holds something else, or what arrived differs.
        SetupError: if the Hub or the token does not allow it.

    >>> import curate
    >>> curate.push("out", "my-lab/street-scenes")  # doctest: +SKIP
    """
    options, out = options or PushOptions(), Path(out)
    _check_request(repo_id, options)
    folder = _state_folder(out, options)
    if options.dry_run:
        prepared = prepare(out, options, folder)
        return _report(prepared, options.to or f"hf:{repo_id}", dry_run=True)
    with FolderLock(folder / "lock"):
        if options.to is not None:
            return _export(out, options.to, options, folder)
        return _push(out, str(repo_id), options, folder)


def _check_request(repo_id: str | None, options: PushOptions) -> None:
    if (repo_id is None) == (options.to is None):
        raise UsageError("give either REPO_ID or --to")
    if repo_id is not None:
        check_repo_id(repo_id)
    if options.gated is not None and options.gated not in GATES:
        raise UsageError(f"gated {options.gated!r} is unknown; choose {' or '.join(GATES)}")
    if options.dry_run and options.withdraw:
        raise UsageError("--withdraw changes OUT; it cannot be tried with --dry-run")
    if options.to is not None and (options.public or options.gated or options.parent):
        raise UsageError("--public, --gated and --parent are for the Hub, not for --to")


def _export(out: Path, place: str, options: PushOptions, folder: Path) -> PushReport:
    """Write the same tree through the same gate to a folder or an fsspec URL."""
    _withdraw(out, options)
    prepared = prepare(out, options, folder)
    export_tree(prepared.files, place, options.tell)
    return _report(prepared, place)


def _state_folder(out: Path, options: PushOptions) -> Path:
    resolved = out.resolve()
    folder = options.state or resolved.with_name(f"{resolved.name}.push")
    if folder.resolve().is_relative_to(resolved):
        raise UsageError(f"the state folder {folder} lies inside OUT; choose another place")
    return folder


def _push(out: Path, repo_id: str, options: PushOptions, folder: Path) -> PushReport:
    datasets.open_dataset(out)  # what is no OUT is refused before anybody is asked
    remote = Remote(repo_id, options.tell)
    remote.check_token()
    _withdraw(out, options)
    prepared = prepare(out, options, folder)
    if options.gated and not prepared.card.answers["access.terms"]:
        raise UsageError(f"--gated needs access.terms in {out / QUESTIONS}")
    state = load_state(folder, repo_id)
    exists = remote.exists()
    found = _look_at(remote, state, prepared, options) if exists else Found()
    if found.version is not None and _needs_bump(prepared, found):
        prepared = _bump(out, prepared, found, options, folder)
    if not exists:
        remote.create(private=True)
        state.head = state.parent = state.title = None
    if options.gated:
        remote.gate(options.gated)
    upload = Upload(
        remote=remote, folder=folder, state=state, watch=options.watch, tell=options.tell
    )
    notice = save_notice(folder, _notice_header(prepared.card))
    head = send(upload, prepared.files, notice)
    remote.tag(prepared.tag, head)
    checked = _check_arrived(remote, head, prepared, options)
    if options.public:
        remote.make_public()
    _log(out, repo_id, head, prepared)
    report = _report(prepared, remote.url, changes=found.changes(prepared))
    return replace(report, revision=head, tag=prepared.tag, checked=checked)


def _notice_header(card: Card) -> str:
    keys = ("license", "license_name", "license_link", "pretty_name", "extra_gated_prompt",
            "extra_gated_fields")  # fmt: skip
    return format_header({key: card.header[key] for key in keys if key in card.header})


def _withdraw(out: Path, options: PushOptions) -> None:
    if not options.withdraw:
        return
    mentions = withdraw(datasets.open_dataset(out), options.withdraw)
    if mentions:
        options.tell(
            f"annotation files still name a withdrawn image: {', '.join(mentions)}; edit the "
            "original and run curate blur again if that matters"
        )
    options.tell(
        "earlier revisions of a repository still hold what was withdrawn; to erase them, squash "
        "its history and delete its LFS files in the repository's settings"
    )
    write_card(out, CardOptions(template=options.template, reports=options.reports))


def prepare(out: Path, options: PushOptions, folder: Path) -> Prepared:
    """Pass the gate, and build the whitelist.

    Raises:
        GateError: if anything is wrong; nothing has been sent.
    """
    dataset = datasets.open_dataset(out)
    gate.check_dataset(dataset, options.source, options.workers)
    own = CardOptions(template=options.template, reports=options.reports, form=options.form)
    card = make_card(dataset, own)
    cards = [card]
    if options.form is not None:
        cards.append(make_card(dataset, replace(own, form=None)))
    gate.check_card(out, cards)
    for note in card.notes:
        options.tell(note)
    return _build(dataset, card, folder, options)


def _build(dataset: Dataset, card: Card, folder: Path, options: PushOptions) -> Prepared:
    """Convert, and write the files that only the repository has."""
    staging = folder / "staging"
    public = folder / "public"
    datasets.save_public_tier(dataset, public)
    digest = datasets.digest_public_tier(public)
    if digest != card.publication["manifest_sha256"]:
        raise DataError(f"{dataset.out} changed while it was prepared; run the same command again")

    def watch(name: str, images: int) -> None:
        options.tell(f"wrote {name}")

    files = list(convert.iter_files(dataset, card.form, staging, watch))
    made = folder / "made"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    if card.picture is not None:
        files.append(_save(made, picture.NAME, card.picture))
    license_file = dataset.out / "LICENSE"
    if license_file.is_file():
        files.append(describe_file("LICENSE", license_file))
    if limit := exceeds_limits([file.path for file in files]):
        raise UsageError(f"{limit}; use --as parquet")
    files.sort(key=lambda file: file.path)
    listing = "".join(_format_line(file) for file in files)
    listed = [
        PublishedFile(file.path, file.sha256, file.bytes)
        for file in files
        if file.path.endswith((".parquet", ".tar")) or not file.path.startswith("data/")
    ]
    card = with_files(card, listed if len(listed) <= _MOST_OBJECTS else ())
    files += [
        _save(made, FILES, listing.encode()),
        _save(made, PUBLICATION, format_json(card.publication).encode()),
        _save(made, CARD, card.text.encode()),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a repository holds already.

    Args:
        version: the version that was published last, or None.
        manifest_sha256: digest of its public manifest.
        listing: its files, by path.
        run: its public ``run.json``.
    """

    version: str | None = None
    manifest_sha256: str | None = None
    listing: Mapping[str, Listed] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)

    def changes(self, prepared: Prepared) -> tuple[str, ...]:
        """How a whitelist differs from it, a line each."""
        if self.version is None or not _differs(self, prepared):
            return ()
        return tuple(_iter_changes(self, prepared))


def _iter_changes(found: Found, prepared: Prepared) -> Iterator[str]:
    now = {file.path: file.sha256 for file in prepared.files if not _is_made(file.path)}
    before = {path: one.sha256 for path, one in found.listing.items()}
    added, removed = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    changed = sum(before[path] != now[path] for path in now.keys() & before.keys())
    yield f"{added:,} files added, {removed:,} removed, {changed:,} changed"
    run = prepared.card.documents[PUBLIC_RUN]
    old, new = found.run.get("counts", {}), run.get("counts", {})
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key)} → {new.get(key)}"
    old, new = found.run.get("recipe", {}), run.get("recipe", {})
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield f"recipe.{key}: {old.get(key)!r} → {new.get(key)!r}"


def _is_made(path: str) -> bool:
    return path.startswith("manifest/") or path in (CARD, CROISSANT, CITATION)


def _look_at(remote: Remote, state: State, prepared: Prepared, options: PushOptions) -> Found:
    """Refuse a repository that holds something else, or that somebody else has changed.

    Raises:
        DataError: if it is another dataset, or public while a private one was asked for.
        MovedError: if its head is not the last push.
    """
    head = remote.head()
    if not options.public and not remote.is_private():
        raise UsageError(
            f"{remote.url} is public; add --public to push to it, or make it private first"
        )
    if options.parent is not None:
        if head != options.parent:
            raise MovedError(f"{remote.url} is at {head[:12]}, not at --parent {options.parent}")
        state.head, state.parent, state.title = head, None, None
    tree = remote.tree(head)
    with tempfile.TemporaryDirectory() as folder:
        _check_identity(remote, head, tree, state, prepared, folder)
        if PUBLICATION not in tree:
            return Found()
        found = _load_found(remote, head, folder)
    if state.head is None:
        _check_unmoved(remote, head, found)
    return found


def _check_identity(
    remote: Remote,
    head: str,
    tree: Mapping[str, RemoteFile],
    state: State,
    prepared: Prepared,
    folder: str,
) -> None:
    title = prepared.card.answers["dataset.title"]
    others = [path for path in tree if path not in (".gitattributes", CARD)]
    readme = ""
    if CARD in tree:
        readme = Path(remote.download(CARD, head, folder)).read_text(encoding="utf-8")
    is_ours = PUBLICATION in tree or PROGRESS_MARK in readme
    if others and not is_ours and state.head is None:
        raise DataError(
            f"{remote.url} holds files that curate did not put there (first {others[0]!r}); "
            "choose another REPO_ID"
        )
    from curate.publishing.card.header import split_card

    header, _ = split_card(readme)
    name = header.get("pretty_name")
    if is_ours and name is not None and name != title:
        raise DataError(
            f"{remote.url} holds another dataset ({name!r}, and {QUESTIONS} says {title!r}); "
            "choose another REPO_ID, or put the title right"
        )


def _load_found(remote: Remote, head: str, folder: str) -> Found:
    publication = json.loads(Path(remote.download(PUBLICATION, head, folder)).read_text())
    run = json.loads(Path(remote.download(PUBLIC_RUN, head, folder)).read_text())
    listing = load_listing(Path(remote.download(FILES, head, folder)))
    return Found(
        version=str(publication.get("dataset_version")),
        manifest_sha256=publication.get("manifest_sha256"),
        listing={one.path: one for one in listing},
        run=run,
    )


def _check_unmoved(remote: Remote, head: str, found: Found) -> None:
    """Without a state here, the tag of the last version says where its push ended."""
    tagged = remote.tags().get(f"curate-{str(found.manifest_sha256)[:16]}")
    if tagged != head:
        raise MovedError(
            f"{remote.url} has commits after the last push (head {head[:12]}); nothing was "
            f"overwritten. Look at them, and to go on from there, which replaces what differs, "
            f"add --parent {head}"
        )


def _needs_bump(prepared: Prepared, found: Found) -> bool:
    """Whether other content would be published under the same version."""
    same_version = found.version == prepared.card.answers["dataset.version"]
    return same_version and _differs(found, prepared)


def _differs(found: Found, prepared: Prepared) -> bool:
    before = {path: one.sha256 for path, one in found.listing.items()}
    now = {file.path: file.sha256 for file in prepared.files if not _is_made(file.path)}
    return before != now


def _bump(
    out: Path, prepared: Prepared, found: Found, options: PushOptions, folder: Path
) -> Prepared:
    """Raise the version in ``card.toml``, add it to the list of versions, and prepare again."""
    first, second, third = str(found.version).split(".")
    version = (
        f"{first}.{second}.{int(third) + 1}" if options.withdraw else f"{first}.{int(second) + 1}.0"
    )
    today = time.strftime("%Y-%m-%d", time.gmtime())
    path = out / QUESTIONS
    text = path.read_text(encoding="utf-8")
    text, count = re.subn(r'(?m)^(\s*version\s*=\s*)"[^"\n]*"', rf'\g<1>"{version}"', text, count=1)
    if not count:
        raise DataError(f"{path}: dataset.version could not be raised; write {version} there")
    text = re.sub(r"(?m)^(\s*date\s*=\s*)\S+", rf"\g<1>{today}", text, count=1)
    changes = json.dumps(list(found.changes(prepared)), ensure_ascii=False)
    block = f'[[changelog]]\nversion = "{version}"\ndate = {today}\nchanges = {changes}\n'
    head, mark, tail = text.partition("\n[[changelog]]")
    text = f"{head}\n{block}{mark}{tail}" if mark else f"{text.rstrip()}\n\n{block}"
    save_text(path, text)
    options.tell(f"the repository has version {found.version}; this one is {version}")
    write_card(out, CardOptions(template=options.template, reports=options.reports,
                                form=options.form))  # fmt: skip
    return prepare(out, options, folder)


def _check_arrived(remote: Remote, head: str, prepared: Prepared, options: PushOptions) -> int:
    """Download a sample, or all, at the new revision, and compare it with the public manifest.

    Raises:
        DataError: if anything differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = RemoteTree(remote, head, Path(folder))
        for problem in iter_problems(tree, options.full):
            raise DataError(
                f"{remote.url} at {head[:12]} is not what was sent: {problem.path}: "
                f"{problem.detail}; run the same command again"
            )
        return sum(1 for path in Path(folder).rglob("*") if path.is_file() and
                   ".cache" not in path.parts)  # fmt: skip


def _log(out: Path, repo_id: str, head: str, prepared: Prepared) -> None:
    """Note the revision in the manifest's log, which is outside every digest."""
    line = {
        "event": "pushed",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "repo_id": repo_id,
        "revision": head,
        "tag": prepared.tag,
        "version": prepared.card.answers["dataset.version"],
        "files": len(prepared.files),
    }
    with (out / "manifest" / datasets.LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, sort_keys=True) + "\n")


def _report(
    prepared: Prepared, to: str, changes: tuple[str, ...] = (), dry_run: bool = False
) -> PushReport:
    return PushReport(
        to=to,
        form=prepared.card.form.name,
        version=prepared.card.answers["dataset.version"],
        files={file.path: file.bytes for file in prepared.files},
        changes=changes,
        dry_run=dry_run,
    )
