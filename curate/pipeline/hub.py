"""Datasets of the Hugging Face Hub as SOURCE: the work folder gets a copy first."""

from __future__ import annotations

from pathlib import Path

from curate.core.errors import SourceChangedError, UsageError
from curate.core.protocols import Source
from curate.layouts import open_source
from curate.layouts.access.hub import PREFIX, materialize, parse_hub_uri
from curate.manifest import store
from curate.pipeline.session import Session
from curate.pipeline.workspace import Workspace

_LAYOUT = "parquet"


def check(place: str, layout: str) -> str:
    """Make sure that a dataset can be brought.

    Args:
        place: ``hf:NAME[@REVISION]``.
        layout: as the user has named it.

    Returns:
        What an output must not overlap with: the dataset, where it is on this disk.

    Raises:
        UsageError: if another layout is asked for.
        DataError: if there is no name.
    """
    name = parse_hub_uri(place).name
    if layout not in ("auto", _LAYOUT):
        raise UsageError(f"SOURCE {place!r} comes as {_LAYOUT}; leave --format {layout} out")
    return name if name.startswith((".", "/")) else place


def bring(place: str, workspace: Workspace, session: Session) -> Source:
    """Write a dataset to the work folder, or go on with that, and open it.

    Raises:
        DataError: if there is no such dataset, or another one is there.
        SetupError: if the Hub cannot be reached.
    """
    hub = parse_hub_uri(place)
    if not workspace.source.is_dir():
        session.tell(f"{place} is written to the work folder first.")
    materialize(hub.name, hub.revision, workspace.source)
    return open_source(str(workspace.source), _LAYOUT)


def check_origin(place: str, out: Path) -> None:
    """Make sure that a finished OUT was made of this dataset, as far as it can tell.

    Raises:
        SourceChangedError: if it was made of another one.
    """
    origin, hub = store.load_run(out / "manifest")["source"]["origin"], parse_hub_uri(place)
    name, _, revision = (origin or "").removeprefix(PREFIX).partition("@")
    if origin is not None and (name != hub.name or hub.revision not in (None, revision)):
        raise SourceChangedError(f"{out} was made of {origin}, not {place}; choose another OUT")
