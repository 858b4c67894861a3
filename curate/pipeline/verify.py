"""Verify the output of any command against its manifest, and look for leaks.

Outputs of the pipeline are checked here; a package above this one registers the check of
its outputs in `CHECKS` by the file of the manifest that marks them.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.arguments import checked
from curate.core.errors import DataError, ManifestError, SetupError, UsageError
from curate.core.records import escape_unprintable
from curate.core.registry import Plugin, Registry
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.manifest import corrections, files, store
from curate.manifest.checksums import Coverage, check_checksums, load_checksums
from curate.manifest.files import Problem
from curate.manifest.others import describe_notes
from curate.pipeline.compare import find_other_dataset
from curate.pipeline.object_output import fetched
from curate.pipeline.progress import make_notifier, show_steps
from curate.pipeline.session import Session, Step
from curate.pipeline.sidecar_summary import LISTS_WITHHELD, may_list_withheld
from curate.pipeline.verify_run import RunCheck, iter_run_problems
from curate.storage.errors import describe_os_error

if TYPE_CHECKING:
    import pandas as pd

CHECKS = Registry(
    "check",
    [
        (
            corrections.FACTS,
            Plugin("curate.balance.correct.verify:iter_problems", "outputs of curate balance"),
        ),
        (
            store.FILES,
            Plugin("curate.publishing.hub.pull:verify_published", "published datasets"),
        ),
        ("card", Plugin("curate.publishing.card.run:iter_card_problems", "dataset cards")),
        (
            "near_duplicates",
            Plugin("curate.duplicates.run:iter_problems", "near-duplicates left unblurred"),
        ),
    ],
)
"""Checks of outputs of the packages above, by the file in ``manifest/`` that marks them.

That of corrections is called with the output's folder, the session, the content of the file
and a function for progress; that of published datasets with the address, whether to read every
file, and functions for messages and progress.
"""

MAX_PROBLEMS = 1000
"""Problems that a `Verification` holds; further ones are counted."""


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """The result of verifying an output.

    Args:
        out: the output folder.
        checked: what was checked, as a clause.
        counts: number of problems by kind.
        problems: the first `MAX_PROBLEMS` of them.
        coverage: what digests cover and who signed them; None for a published dataset, of
            which the public manifest lists every file.
        content: what the annotations of a run contain, as counted again; see `Summary.content`.
    """

    out: str
    checked: str
    counts: Mapping[str, int]
    problems: tuple[Problem, ...]
    coverage: Coverage | None = None
    content: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.counts

    def to_text(self) -> str:
        """The verdict in one line."""
        if self.ok:
            return f"{self.out} is what its manifest says: {self.checked}."
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        total = sum(self.counts.values())
        return f"{self.out} is not what its manifest says: {total:,} problems ({kinds})."

    def to_frame(self) -> pd.DataFrame:
        """The problems as a table with the columns kind, path and detail."""
        import pandas as pd

        rows = [asdict(problem) for problem in self.problems]
        return pd.DataFrame(rows, columns=["kind", "path", "detail"])

    def __repr__(self) -> str:
        return f"<Verification: {escape_unprintable(self.to_text())}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{each.kind}</td><td>{html.escape(escape_unprintable(each.path))}</td>"
            f"<td>{html.escape(each.detail)}</td></tr>"
            for each in self.problems[:50]
        )
        return f"<p>{html.escape(escape_unprintable(self.to_text()))}</p><table>{rows}</table>"


@checked
def verify(
    out: str | Path,
    source: str | Path | None = None,
    workers: int | None = None,
    *,
    engine: str = "local",
    near_duplicates: bool = True,
    full: bool = False,
    quiet: bool = False,
    signed_by: str | Path | None = None,
    on_problem: Callable[[Problem], None] | None = None,
) -> Verification:
    """Check every file of an output against its manifest, and look for leaks.

    >>> result = curate.verify("out", source="photos")          # doctest: +SKIP
    >>> result.ok                                               # doctest: +SKIP
    True

    Args:
        out: the output of ``blur`` or ``balance``, a path or a URI; ``hf:REPO_ID[@REVISION]``
            for a dataset that `push` published; or the folder that `pull` wrote. The manifest of
            a URI is copied to a temporary folder, and its images are read one by one.
        source: the SOURCE of ``blur``, to compare pixels with: equal outside the masks,
            hidden inside. None to check the output by itself.
        workers: worker processes, or None for one per usable core.
        engine: what runs the workers, as in `Session`; on other machines, OUT has the same path.
        near_duplicates: with ``source``, also report near-duplicates of which one is not blurred.
        full: download every file of a published dataset, not a sample.
        quiet: show no progress.
        signed_by: a file of SSH public keys, of which one must have signed the manifest.
        on_problem: called with each problem as soon as it is found.

    Raises:
        UsageError: if a correction is to be compared with its SOURCE, or ``signed_by`` is not
            a file of public keys.
        ManifestError: if the manifest cannot be read at all.
        DataError: if SOURCE or OUT is not a folder.
        SetupError: if a folder cannot be listed, or memory or processes fail.
    """
    session = Session(workers=workers, engine=engine)
    options = _Options(session, near_duplicates, full, quiet, signed_by, on_problem)
    if not is_address(str(out)):
        return _verify(str(out), source, options)
    if engine.startswith("ray:"):
        raise UsageError(
            "OUT is a URI, and the nodes of a Ray cluster do not see the copy of its manifest; "
            "drop the address of --engine"
        )
    uri = str(out).rstrip("/")
    with fetched(uri, with_data=False) as copy:
        if not any((copy / store.MANIFEST / n).exists() for n in (corrections.FACTS, store.FILES)):
            return replace(_verify(str(copy), source, options, uri), out=uri)
    with fetched(uri) as copy:  # what other commands wrote is checked in a copy of all of it
        return replace(_verify(str(copy), source, options), out=uri)


@dataclass(frozen=True, slots=True)
class _Options:
    """How to verify; see `verify`."""

    session: Session
    near_duplicates: bool
    full: bool
    quiet: bool
    signed_by: str | Path | None
    on_problem: Callable[[Problem], None] | None


def _verify(
    out: str, source: str | Path | None, options: _Options, uri: str | None = None
) -> Verification:
    session, quiet, signed_by = options.session, options.quiet, options.signed_by
    kinds: Counter[str] = Counter()
    kept: list[Problem] = []
    coverage = content = None
    with show_steps(quiet) as watch:
        if out.startswith(_HUB) or (Path(out) / store.MANIFEST / store.FILES).is_file():
            if signed_by is not None:
                raise UsageError("--signed-by is for the output of a run, not a published dataset")
            notify = make_notifier(quiet)
            checked, problems = _open_published(out, source, options.full, notify, watch)
        else:
            checked, problems = _open_check(Path(out), source, session, watch, uri)
            keys = None if signed_by is None else Path(signed_by)
            coverage, found = _check_coverage(Path(out), keys)
            content = _load_content(Path(out))
            compared = source if options.near_duplicates else None
            problems = _then_others(problems, Path(out), compared, session, watch, uri)
            problems = chain(problems, found)  # last: others say what differs
        for problem in problems:
            kinds[problem.kind] += 1
            if len(kept) < MAX_PROBLEMS:
                kept.append(problem)
            if options.on_problem is not None:
                options.on_problem(problem)
    return Verification(out, checked, dict(kinds), tuple(kept), coverage, content)


CardCheck = Callable[[Path], Iterator[Problem]]


@checked
def iter_problems(
    out: str | Path,
    source: str | Path | None = None,
    workers: int | None = None,
    card: CardCheck | None = None,
) -> Iterator[Problem]:
    """Check an output as `verify` does, yielding each problem as it is found.

    Args:
        out: as for `verify`, as are ``source`` and ``workers``.
        source: the SOURCE, or None.
        workers: worker processes.
        card: how the dataset card is checked; None for the check that `verify` makes.
    """
    session = Session(workers=workers)
    problems = _open_check(Path(out), source, session, lambda _: None)[1]
    found = _check_coverage(Path(out), None)[1]
    others = _then_others(problems, Path(out), source, session, lambda _: None, card=card)
    return chain(others, found)


_Watch = Callable[[Step], None]
_HUB = "hf:"


def _load_content(out: Path) -> Mapping[str, Any] | None:
    """The content report of a run, which the check compares with the annotations."""
    if (out / store.MANIFEST / corrections.FACTS).is_file():
        return None
    content: Mapping[str, Any] | None = load_facts(out).get("content")
    return content


def _check_coverage(out: Path, keys: Path | None) -> tuple[Coverage, tuple[Problem, ...]]:
    try:
        return check_checksums(out, keys)
    except OSError as error:
        raise describe_os_error(error, out, "read") from error


def _then_others(
    problems: Iterator[Problem],
    out: Path,
    source: str | Path | None,
    session: Session,
    watch: _Watch,
    uri: str | None = None,
    card: CardCheck | None = None,
) -> Iterator[Problem]:
    """Check near-duplicates and the dataset card too; the card only of a sound output."""
    is_sound = True
    for problem in problems:
        is_sound = False
        yield problem
    if source is not None:
        try:
            find = CHECKS.resolve("near_duplicates")
            for problem in find(str(source), out, session.workers, session.engine, uri, watch):
                is_sound = False
                yield problem
        except DataError:
            if is_sound:  # what is damaged is reported by then
                raise
    if not is_sound or not any((out / name).exists() for name in ("card.toml", files.PICTURE)):
        return
    check = card or CHECKS.resolve("card")
    if uri is None:
        yield from check(out)
    elif any((out / name).exists() for name in files.ROOT_FILES - {"card.toml"}):
        with fetched(uri) as copy:  # the card is made again, from the images too
            yield from check(copy)


def _open_published(
    uri: str,
    source: str | Path | None,
    full: bool,
    notify: Callable[[str], None],
    watch: _Watch,
) -> tuple[str, Iterator[Problem]]:
    """What a check of a published dataset covers, and the problems that it finds."""
    if source is not None:
        raise UsageError("--source is for the output of a run, not for a published dataset")
    how = "every file" if full or not uri.startswith(_HUB) else "every digest and a sample"
    problems = CHECKS.resolve(store.FILES)(uri, full, notify, watch)
    return f"{how} checked against the public manifest", problems


def _open_check(
    out: Path, source: str | Path | None, session: Session, watch: _Watch, uri: str | None = None
) -> tuple[str, Iterator[Problem]]:
    """What a check covers, as a clause, and the problems that it finds, streaming."""
    if (out / store.MANIFEST / corrections.FACTS).is_file():
        return _open_correction(out, source, session, watch)
    run = load_facts(out)
    counts = run["counts"]
    against = ", and compared with the pixels of SOURCE" if source else ""
    clause = (
        f"{counts['written']:,} images checked for changes and leaks{against}, "
        f"{counts['withheld']:,} withheld, recipe {run['recipe_sha256'][:12]}"
    )
    if may_list_withheld(run):
        clause += f"; {LISTS_WITHHELD}"

    def find() -> Iterator[Problem]:
        opened = None
        if source is not None:
            opened = open_source(str(source), run["source"]["layout"])
            if (problem := find_other_dataset(out, opened)) is not None:
                yield problem
                opened = None
        yield from iter_run_problems(RunCheck(out.resolve(), opened, run, session, watch, uri))

    return clause, _with_clear_errors(out, find())


def _open_correction(
    out: Path, source: str | Path | None, session: Session, watch: _Watch
) -> tuple[str, Iterator[Problem]]:
    if source is not None:
        raise UsageError(
            "--source is for outputs of curate blur; curate balance copies images unchanged"
        )
    facts = corrections.load_facts(out / store.MANIFEST)
    counts = facts["counts"]
    hidden = "" if facts["source"]["obfuscated"] else "; their faces were never hidden"
    images = f", images checked for changes{hidden}" if facts["recipe"].get("writes_images") else ""
    clause = (
        f"{counts['kept'] + counts['fixed']:,} records kept, {counts['removed']:,} removed, "
        f"{counts['made']:,} made{images}, recipe {facts['recipe_sha256'][:12]}"
    )
    if note := describe_notes(out / store.MANIFEST):
        clause += f"; {note}"

    def find() -> Iterator[Problem]:
        yield from CHECKS.resolve(corrections.FACTS)(out.resolve(), session, facts, watch)

    return clause, _with_clear_errors(out, find())


def _with_clear_errors(out: Path, problems: Iterator[Problem]) -> Iterator[Problem]:
    try:
        yield from problems
    except OSError as error:
        raise describe_os_error(error, out, "read") from error
    except MemoryError:
        raise SetupError("there is not enough memory; try fewer --workers") from None


def load_facts(out: Path) -> dict[str, Any]:
    """Load the ``run.json`` of a finished run.

    Raises:
        ManifestError: if it is absent or damaged.
        DataError: if OUT is not a folder.
    """
    try:
        if out.exists() and not out.is_dir():
            raise DataError(store.describe_missing(out / store.MANIFEST))
        facts = f"{store.MANIFEST}/{corrections.FACTS}"
        if not (out / store.MANIFEST / store.RUN).exists() and facts in load_checksums(out):
            raise ManifestError(f"{out / facts} is missing or not a file; restore it")
        return store.load_run(out / store.MANIFEST)
    except OSError as error:
        raise describe_os_error(error, out, "read") from error
