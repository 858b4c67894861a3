"""SOURCE as a dataset of the Hugging Face Hub, which is downloaded to the work folder first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from curate.core.errors import SourceChangedError, UsageError
from curate.core.protocols import Source
from curate.layouts import open_source
from curate.layouts.access.address import is_address, is_hub_uri
from curate.layouts.access.hub import PREFIX, materialize, parse_hub_uri
from curate.manifest import store
from curate.manifest.files import MANIFEST
from curate.pipeline.session import Session
from curate.pipeline.workspace import Workspace, check_paths

_HUB_LAYOUT = "parquet"


def open_or_download(
    source: str | Path, out: str | Path, session: Session
) -> tuple[Callable[[], Source], Workspace]:
    """Open a dataset, or return how; one of the Hub is downloaded to the work folder first."""
    workspace = Workspace(Path(out).resolve())
    if is_hub_uri(str(source)):
        check_paths(_check_hub(str(source), session.layout), out)
        return _downloader(str(source), workspace, session), workspace
    _check_no_output(str(source), Path(out))
    opened = open_source(str(source), session.layout)
    check_paths(opened.uri, out)
    return lambda: opened, workspace


def _check_no_output(source: str, out: Path) -> None:
    """Refuse an output of curate as SOURCE."""
    if is_address(source) or not (Path(source) / MANIFEST / store.RUN).is_file():
        return
    is_swapped = out.is_dir() and not (out / MANIFEST).is_dir()
    raise UsageError(
        f"SOURCE {source!r} is an output of curate blur"
        + (
            f", and OUT {str(out)!r} is not; swap them"
            if is_swapped
            else "; give the dataset that it was made from, or its data/"
        )
    )


def _check_hub(uri: str, layout: str) -> str:
    """Check the address of a dataset on the Hub; returns what OUT must not overlap with."""
    name = parse_hub_uri(uri).name
    if layout not in ("auto", _HUB_LAYOUT):
        raise UsageError(f"SOURCE {uri!r} is read as {_HUB_LAYOUT}; drop --format {layout}")
    return name if name.startswith((".", "/")) else uri


def _downloader(uri: str, workspace: Workspace, session: Session) -> Callable[[], Source]:
    """Return a function that copies a dataset of the Hub to the work folder, and opens it."""

    def download() -> Source:
        hub = parse_hub_uri(uri)
        if not workspace.source.is_dir():
            session.notify(f"{uri} is downloaded to the work folder first.")
        materialize(hub.name, hub.revision, workspace.source)
        return open_source(str(workspace.source), _HUB_LAYOUT)

    return download


def check_hub_origin(uri: str, out: Path) -> None:
    """Refuse a finished output that has another origin than this dataset of the Hub."""
    origin, hub = store.load_run(out / store.MANIFEST)["source"]["origin"], parse_hub_uri(uri)
    if origin is None and Path(hub.name).exists():
        return  # a local copy in the Hub's form, whose path is not recorded
    name, _, revision = (origin or "").removeprefix(PREFIX).partition("@")
    if name != hub.name or hub.revision not in (None, revision):
        found = origin or "a local dataset"
        raise SourceChangedError(
            f"{out} is the output of {found}, not of {uri}; choose another OUT"
        )
