"""Start a review: open the dataset, the boxes and the journal, and serve the page."""

from __future__ import annotations

import getpass
import shlex
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.arguments import checked
from curate.core.errors import DataError, MissingExtraError, SetupError, UsageError
from curate.core.geometry import clip, grow, round_out
from curate.core.records import ImageRecord, escape_unprintable, set_paths
from curate.layouts import open_source
from curate.layouts.access.address import is_address, is_hub_uri
from curate.layouts.groups import load_matching
from curate.layouts.memory_table import TableLike, set_tables
from curate.manifest import store
from curate.manifest.files import MANIFEST
from curate.pipeline.progress import show_steps
from curate.report.document import Printable
from curate.review import collect, folder, priority, sampling
from curate.review.collect import Groups, Queueing
from curate.review.folder import Inputs
from curate.review.items import Item, Items
from curate.review.journal import Journal, iter_events
from curate.review.live import LiveReview, Setting, now
from curate.review.pictures import Pictures
from curate.review.report import describe_sample, format_bound
from curate.review.sampling import Plan, Target

_MARGIN = 0.1  # growth of a box before it hides, where no run states another


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """How a review is done.

    Args:
        faces: a file of proposed boxes in any form that `curate.blur` takes, or None.
        run: the OUT of a run, whose outputs are reviewed for faces that are still visible.
        folder: the review folder; None to name it after the boxes, OUT or SOURCE.
        layout: SOURCE's layout, or ``auto``.
        reviewer: the reviewer's name; None for the user's.
        blind: whether every reviewer decides every image without seeing the others' boxes.
        queueing: which images come, and in which order.
        groups: a table of group labels by id, a file or in memory such as a DataFrame, or None.
        by: the column of it that divides a sample, or None for the first.
        sample: what a sample is to show; None to correct boxes.
        port: of the server; None for the last one's, or any that is free.
    """

    faces: Path | None = None
    run: Path | None = None
    folder: Path | None = None
    layout: str = "auto"
    reviewer: str | None = None
    blind: bool = False
    queueing: Queueing = field(default_factory=Queueing)
    groups: TableLike | None = None
    by: str | None = None
    sample: Target | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        set_paths(self, "faces", "run", "folder")
        set_tables(self, "groups")
        if self.faces is not None and self.run is not None:
            raise UsageError("--faces and --run exclude each other; a run has its own boxes")
        if self.by is not None and self.groups is None:
            raise UsageError("--by needs the table of groups; name it with --groups")
        if self.port is not None and not 0 <= self.port < 65536:
            raise UsageError(f"--port cannot be {self.port}; give 1 to 65535")


@dataclass(frozen=True, slots=True, repr=False)
class ReviewState(Printable):
    """How far a review is when its server stops.

    Args:
        folder: the review folder.
        images: images in the queue.
        decided: images of it that are decided.
        not_shown: images of it that could not be shown, and are not decided.
        added: boxes added.
        rejected: boxes rejected.
        changed: boxes moved or resized.
        bound: the result of a sample so far, or None.
    """

    folder: str
    images: int
    decided: int
    not_shown: int
    added: int
    rejected: int
    changed: int
    bound: Mapping[str, Any] | None = None

    def to_text(self) -> str:
        """How far a review is, for a person."""
        lines = [
            f"{self.decided:,} of {self.images:,} images decided: {self.added:,} boxes added, "
            f"{self.rejected:,} rejected, {self.changed:,} changed."
        ]
        if self.not_shown:
            is_one = self.not_shown == 1
            images = "image" if is_one else "images"
            what = f"and {'keeps the boxes that it' if is_one else 'keep the boxes that they'} had"
            if self.bound is not None:
                what = (
                    f"so no bound can be stated: make {'it' if is_one else 'them'} readable, or "
                    "draw another sample"
                )
            lines.append(f"{self.not_shown:,} {images} could not be shown, {what}.")
        folder = shlex.quote(self.folder)
        if self.bound is not None:
            report = f"Next: curate review report {folder} --html review.html"
            lines += [format_bound(self.bound), report]
        else:
            lines.append(f"Next: curate review export {folder} -o reviewed.parquet")
        return "\n".join(lines)


@checked
def start_review(
    source: str | Path | None,
    options: ReviewOptions | None = None,
    notify: Callable[[str], None] = print,
    browser: bool = True,
    stop: threading.Event | None = None,
) -> ReviewState:
    """Serve the page of a review until it is stopped.

    Starting it again with the same inputs goes on where it was.

    Args:
        source: the dataset; only read. None where ``run`` is reviewed without it.
        options: how.
        notify: called with a line for the user; one of them is the page's address alone.
        browser: whether to open the page in a browser.
        stop: when set, the server ends; Ctrl-C ends it too.

    Raises:
        UsageError: if the request contradicts itself.
        DataError: if SOURCE, the boxes or the journal cannot be used.
        SetupError: if the extra ``review`` is not installed, or the port is in use.
    """
    options = options or ReviewOptions()
    check_extra()
    from curate.review import server  # Starlette and uvicorn come with an extra

    with opened(source, options, notify) as (review, path):
        if review.measure is not None:
            notify(describe_sample(review.measure()))
        port, token = folder.load_server(path)
        try:
            listener = server.open_socket(port if options.port is None else options.port)
        except SetupError:
            if options.port is not None:
                raise
            listener = server.open_socket(0)
        port = listener.getsockname()[1]
        folder.save_server(path, port, token)
        address = f"http://{server.HOST}:{port}/?token={token}"
        notify("Review in the browser; Ctrl-C ends the server, and nothing is lost:")
        notify(address)
        if browser and not _open_browser(address):
            notify("No browser could be opened here; open the line above in one.")
        server.serve(server.build_app(review, token), listener, stop)
        status = review.describe(options.reviewer or _name_user())
    return ReviewState(
        folder=str(path),
        images=status["images"],
        decided=status["images"] - status["open"] - status["not_shown"],
        not_shown=status["not_shown"],
        added=status["added"],
        rejected=status["rejected"],
        changed=status["changed"],
        bound=status.get("bound"),
    )


def check_extra() -> None:
    """Make sure that the packages of the page's server are installed.

    Raises:
        MissingExtraError: if one is not; names the pip line.
    """
    from importlib.util import find_spec

    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise MissingExtraError("curate review", package, "review")


@contextmanager
def opened(
    source: str | Path | None, options: ReviewOptions, notify: Callable[[str], None] = print
) -> Iterator[tuple[LiveReview, Path]]:
    """Everything behind the page, without a server: the review and its folder."""
    inputs = Inputs(
        source=None if source is None else _locate(str(source)),
        layout=options.layout,
        faces=None if options.faces is None else str(options.faces.absolute()),
        run=None if options.run is None else str(options.run.resolve()),
    )
    shown = collect.open_reviewed(inputs)
    about = {"task": _name_task(options), "blind": options.blind, **collect.digest_inputs(inputs)}
    path = folder.choose_folder(inputs, options.folder, options.sample is not None)
    with ExitStack() as stack:
        stack.enter_context(folder.hold_folder(path))
        header = folder.check_header(path, about)
        list_items = stack.enter_context(collect.collected(inputs, shown, path / folder.PROPOSED))
        with show_steps(quiet=False) as show:
            listed = collect.show_counts(list_items, show)
            ids = (item.record.id for item in listed())
            groups = load_matching(options.groups, ids, [options.by] if options.by else [])
            plan = _find_plan(path, options, listed, groups)
            journal = stack.enter_context(Journal(path, header))
            folder.save_inputs(path, inputs)
            items = Items(
                path / folder.QUEUE,
                _order(listed, options, groups, plan, path),
                options.blind,
                None if plan else options.queueing.limit,
            )
        if journal.note:
            notify(journal.note)
        stack.callback((path / folder.QUEUE).unlink, missing_ok=True)
        stack.callback(items.close)
        if items.count() == 0:
            raise UsageError("no image is left to review; check SOURCE and --filter")
        setting = _describe(options, inputs, header)
        patch = _show_hidden(inputs, plan, items, setting.margin)
        journal.append({"event": "started", "images": items.count(), "time": now()})
        pictures = Pictures(lambda: collect.open_reviewed(inputs), patch)
        review = LiveReview(items, journal, pictures, setting)
        if plan is not None:
            review.measure = _measure(review, plan)
        _replay(review, path, notify)
        yield review, path


def _locate(source: str) -> str:
    """SOURCE, so that it is found from any folder."""
    if is_address(source) or is_hub_uri(source):
        return source
    path = Path(source).absolute()
    return str(path.resolve() if ".." in path.parts else path)


def _find_plan(
    path: Path,
    options: ReviewOptions,
    list_items: Callable[[], Iterator[Item]],
    groups: Groups,
) -> Plan | None:
    """The recorded draw of a sample, or a new one."""
    if options.sample is None:
        return None
    plan = folder.load_plan(path)
    if plan is None:
        plan = collect.plan_sample(options.sample, list_items, groups, options.by)
        folder.save_plan(path, plan)
    elif plan.target != options.sample:
        raise UsageError(
            f"{path} has a sample that was drawn with other options; use those, or choose "
            "another folder with --folder"
        )
    return plan


def _order(
    list_items: Callable[[], Iterator[Item]],
    options: ReviewOptions,
    groups: Groups,
    plan: Plan | None,
    path: Path,
) -> Iterator[Item]:
    if plan is not None:
        return collect.sampled(plan, list_items())
    factors = _learn_factors(path, list_items, groups) if groups else {}
    return collect.queued(list_items(), options.queueing, groups, factors)


def _learn_factors(
    path: Path, list_items: Callable[[], Iterator[Item]], groups: Groups
) -> dict[str, float]:
    """Which groups the detector serves worse, from what the reviewers have added so far."""
    added: dict[str, int] = {}
    for _, event in iter_events(path):
        if event["event"] == "decision":
            added[event["id"]] = sum(face["state"] == "added" for face in event["faces"])
    seen = (
        (f"{key}={value}", priority.expected_missed(priority.Prospect(faces=item.faces)), count)
        for item in list_items()
        if (count := added.get(item.record.id)) is not None
        for key, value in groups.get(item.record.id, {}).items()
    )
    return priority.group_factors(seen)


def _replay(review: LiveReview, path: Path, notify: Callable[[str], None]) -> None:
    elsewhere = sum(not review.replay(number, event) for number, event in iter_events(path))
    if elsewhere:
        notify(
            f"{elsewhere:,} earlier decisions are about images outside this queue; they are kept."
        )


def _describe(options: ReviewOptions, inputs: Inputs, header: Mapping[str, Any]) -> Setting:
    uri = (inputs.run or inputs.source or "").rstrip("/")
    margin = _MARGIN
    if inputs.run is not None:
        margin = store.load_run(Path(inputs.run) / MANIFEST)["obfuscator"]["margin"]
    return Setting(
        review=str(header["review"]),
        dataset=escape_unprintable(uri.rpartition("/")[2] or uri),
        reviewer=options.reviewer or _name_user(),
        task=_name_task(options),
        margin=margin,
    )


def _measure(review: LiveReview, plan: Plan) -> Callable[[], Mapping[str, Any]]:
    """The result of a sample so far; a face that any blind reviewer found is there."""
    roles = {item.number: (item.record.id, item.role) for item in review.items.iter_items()}

    def measure() -> Mapping[str, Any]:
        found: dict[str, bool] = {}
        checks: dict[str, dict[str, bool]] = {}
        for number, answers in review.outcomes.items():
            name, role = roles[number]
            if role == "sample" and answers:
                found[name] = any(answers.values())
            for reviewer, hit in answers.items():
                measured = checks.setdefault(reviewer, {})  # also of one who was shown no check
                if role == "check":
                    measured[name] = hit
        return sampling.summarize(plan, found, checks)

    return measure


def _show_hidden(
    inputs: Inputs, plan: Plan | None, items: Items, margin: float
) -> Callable[[ImageRecord, Picture], Picture] | None:
    """What puts the face of a check back into the output that is shown; None where none is."""
    if inputs.run is None or plan is None or not plan.checks:
        return None
    if inputs.source is None:
        raise UsageError("--checks with --run shows faces of SOURCE; name SOURCE as well")
    layout = store.load_run(Path(inputs.run) / MANIFEST)["source"]["layout"]
    source, lock = open_source(inputs.source, layout), threading.Lock()

    def show(record: ImageRecord, picture: Picture) -> Picture:
        item = items.find(record.id)
        if item is None or item.removed is None:
            return picture
        with lock:
            original = source.find(record.id)
            data = source.read(original) if original is not None else None
        if data is None:
            raise DataError(f"SOURCE has no {record.id!r}, which a check needs")
        before = codec.load(data, CodecOptions())
        face = item.faces[item.removed]
        box = clip(round_out(grow(face.box, margin)), picture.width, picture.height)
        frames = [frame.copy() for frame in picture.frames]
        for index in face.frames or range(len(frames)):
            frames[index][box.slices] = before.frames[index][box.slices]
        return replace(picture, frames=tuple(frames))

    return show


def _name_task(options: ReviewOptions) -> str:
    if options.sample is not None:
        return "sample"
    return "faces" if options.run is None else "outputs"


def _name_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in a container
        return "reviewer"


def _open_browser(address: str) -> bool:
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(address)
    return False
