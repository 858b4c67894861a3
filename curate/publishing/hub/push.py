"""Push a finished dataset: gate, whitelist, upload, tag, and a check of what arrived."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError, describe_choice
from curate.layouts.access.address import is_address, parse_address
from curate.manifest import store
from curate.manifest.checksums import update_checksums
from curate.manifest.files import Problem
from curate.pipeline.object_output import fetched
from curate.publishing import dataset as datasets
from curate.publishing.card.check import QUESTIONS
from curate.publishing.card.header import format_header
from curate.publishing.card.run import Card, CardOptions, write_card
from curate.publishing.hub.batches import CARD_FILES
from curate.publishing.hub.existing import Found, look_at, needs_bump
from curate.publishing.hub.export import check_target, export_tree
from curate.publishing.hub.prepare import WORK, Prepared, PushOptions, prepare
from curate.publishing.hub.published import iter_problems
from curate.publishing.hub.remote import Remote, check_repo_id
from curate.publishing.hub.tree import MANIFEST_FILES, RemoteTree
from curate.publishing.hub.upload import Upload, load_state, save_notice, send
from curate.publishing.hub.withdraw import withdraw
from curate.report.document import Printable
from curate.storage.atomic import save_text
from curate.storage.lock import FolderLock

GATES = ("auto", "manual")
_FORMS = {
    "keep": "in the layout of OUT",
    "parquet": "as Parquet",
    "webdataset": "as WebDataset",
    "imagefolder": "as ImageFolder",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PushReport(Printable):
    """What a push did, or with ``dry_run`` would do.

    Args:
        to: the repository or folder that it was written to.
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

    def to_text(self) -> str:
        """What a push did, in short lines."""
        total = sum(self.files.values())
        size = f"{len(self.files):,} files, {total:,} bytes, {_FORMS[self.form]}."
        if self.dry_run:
            return f"Would be sent to {self.to}; nothing was sent:\n{size}"
        if self.revision is None:
            return f"Wrote to {self.to}:\n{size}"
        lines = [
            f"Pushed version {self.version} to {self.to}:",
            size,
            f"Revision: {self.revision}",
            f"Tag: {self.tag}",
            f"Checked: {self.checked:,} files were downloaded again and compared.",
        ]
        if self.changes:
            lines += ["Changes since the last version:", *(f"  {line}" for line in self.changes)]
        return "\n".join(lines)


@checked
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
    if is_address(str(out)):
        with fetched(out) as copy:
            return push(copy, repo_id, options)
    options, out = options or PushOptions(), Path(out)
    _check_request(out, repo_id, options)
    folder = _state_folder(out, options)
    if options.dry_run and not folder.exists():
        datasets.open_dataset(out)  # what is no OUT gets no folder beside it
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            return _try(out, repo_id, options, Path(made))
    with FolderLock(folder / "lock"):
        if options.dry_run:
            return _try(out, repo_id, options, folder)
        if options.to is not None:
            return _export(out, options.to, options, folder)
        return _push(out, str(repo_id), options, folder)


def _try(out: Path, repo_id: str | None, options: PushOptions, folder: Path) -> PushReport:
    """What would be sent."""
    prepared = prepare(out, options, folder, repo_id)
    if options.to is not None:
        check_target(prepared.files, options.to)
    return _report(prepared, options.to or f"hf:{repo_id}", dry_run=True)


def _check_request(out: Path, repo_id: str | None, options: PushOptions) -> None:
    if (repo_id is None) == (options.to is None):
        raise UsageError("give either REPO_ID or --to")
    if repo_id is not None:
        check_repo_id(repo_id)
    if options.gated is not None and options.gated not in GATES:
        raise UsageError(describe_choice("gated", options.gated, GATES))
    if options.dry_run and options.withdraw:
        raise UsageError("--withdraw changes OUT; it cannot be tried with --dry-run")
    if options.to is None:
        return
    if options.public or options.gated or options.parent:
        raise UsageError("--public, --gated and --parent are for the Hub, not for --to")
    if is_address(options.to):
        parse_address(options.to, "--to")
    elif Path(options.to).resolve().is_relative_to(out.resolve()):
        raise UsageError(f"--to {options.to!r} lies inside OUT; choose another folder")


def _export(out: Path, uri: str, options: PushOptions, folder: Path) -> PushReport:
    """Write the same tree through the same gate to a folder or an fsspec URL."""
    _withdraw(out, options)
    prepared = prepare(out, options, folder)
    export_tree(prepared.files, uri, options.notify)
    return _report(prepared, uri)


def _state_folder(out: Path, options: PushOptions) -> Path:
    resolved = out.resolve()
    folder = options.state or resolved.with_name(f"{resolved.name}.push")
    if folder.resolve().is_relative_to(resolved):
        raise UsageError(f"the state folder {folder} lies inside OUT; choose another folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--state {folder} is a file; give a folder")
    return folder


def _push(out: Path, repo_id: str, options: PushOptions, folder: Path) -> PushReport:
    datasets.open_dataset(out)  # what is no OUT is refused before anybody is asked
    remote = Remote(repo_id, options.notify)
    remote.check_token()
    _withdraw(out, options)
    prepared = prepare(out, options, folder, repo_id)
    if options.gated and not prepared.card.answers["access.terms"]:
        raise UsageError(f"--gated needs access.terms in {out / QUESTIONS}")
    state = load_state(folder, repo_id)
    exists = remote.exists()
    found = look_at(remote, state, prepared, options) if exists else Found()
    if found.version is not None and needs_bump(prepared, found):
        prepared = _bump(out, repo_id, prepared, found, options, folder)
    if not exists:
        remote.create(private=True)
        state.head = state.parent = state.title = None
    if options.gated:
        remote.gate(options.gated)
    upload = Upload(
        remote=remote, folder=folder, state=state, watch=options.watch, notify=options.notify
    )
    notice = save_notice(folder / WORK, _notice_header(prepared.card))
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
        options.notify(
            f"annotation files may still name a withdrawn image ({'; '.join(mentions)}); if one "
            "does, edit the original and run curate blur again"
        )
    options.notify(
        "earlier revisions of a repository still hold what was withdrawn; to erase them, squash "
        "its history and delete its LFS files in the repository's settings"
    )
    write_card(out, CardOptions(template=options.template, reports=options.reports))


def _bump(
    out: Path, repo_id: str, prepared: Prepared, found: Found, options: PushOptions, folder: Path
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
    block = _format_version(version, today, changes)
    head, mark, tail = text.partition("\n[[changelog]]")
    if not mark:
        before = str(prepared.card.answers["dataset.date"])
        block += "\n" + _format_version(str(found.version), before, '["Published before."]')
        head = head.rstrip() + "\n"
    text = f"{head}\n{block}{mark}{tail}"
    save_text(path, text)
    options.notify(f"the repository has version {found.version}; this one is {version}")
    write_card(out, CardOptions(template=options.template, reports=options.reports,
                                form=options.form))  # fmt: skip
    return prepare(out, replace(options, notify=lambda _: None), folder, repo_id)


def _format_version(version: str, date: str, changes: str) -> str:
    return f'[[changelog]]\nversion = "{version}"\ndate = {date}\nchanges = {changes}\n'


def _check_arrived(remote: Remote, head: str, prepared: Prepared, options: PushOptions) -> int:
    """Download a sample, or all, at the new revision, and compare it with the public manifest.

    Raises:
        DataError: if anything differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = RemoteTree(remote, head, Path(folder))
        for problem in chain(iter_problems(tree, options.full), _iter_changed(tree, prepared)):
            raise DataError(
                f"{remote.url} at {head[:12]} is not what was sent: {problem.path}: "
                f"{problem.detail}; run the same command again"
            )
        return len(tree.fetched)


def _iter_changed(tree: RemoteTree, prepared: Prepared) -> Iterator[Problem]:
    """Which files, of those downloaded, the card and the manifest, are not as they were sent."""
    for file in prepared.files:
        wanted = file.path in tree.fetched or file.path in CARD_FILES | MANIFEST_FILES
        if wanted and store.digest_file(tree.fetch(file.path)) != file.sha256:
            yield Problem("changed", file.path, "was downloaded with other bytes than were sent")


def _log(out: Path, repo_id: str, head: str, prepared: Prepared) -> None:
    """Note the revision in the manifest's log; a signed manifest is left as it was signed."""
    if (out / "manifest" / store.SIGNATURE).exists():
        return
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
    update_checksums(out, [f"manifest/{datasets.LOG}"])


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
