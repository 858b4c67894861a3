"""Worker processes, on any machine, follow links if and only if the command does."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import curate.duplicates.read
import curate.impact.train.image_rows
from curate import Recipe
from curate.balance.correct.source import SourceSpec
from curate.impact.evaluate.predict import PredictJob
from curate.layouts import open_source
from curate.layouts.access.folder import follow_links
from curate.pipeline.detect_job import DetectJob
from curate.pipeline.shard import ShardJob
from curate.pipeline.verify_run import CheckJob


class _OpenedError(Exception):
    pass


def make_jobs(uri: str, follow: bool, work: Path) -> list[Any]:
    layout, recipe = "imagefolder", Recipe()
    rows: Any = curate.impact.train.image_rows
    return [
        ShardJob(uri, layout, work, recipe, follow_links=follow),
        DetectJob(uri, layout, work, recipe, follow_links=follow),
        CheckJob(work, "out", uri, layout, False, recipe, follow),
        PredictJob(uri, layout, work, work, {}, "imagenet", "cpu", 8, (follow, follow)),
        SourceSpec(uri, layout, work, follow),
        curate.duplicates.read.ReadJob(uri, layout, follow_links=follow),
        rows.ReadJob(((uri, layout, follow), (uri, layout, follow)), None, None),
    ]


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("number", range(7))
def test_what_is_sent_to_workers_opens_the_dataset_as_the_command_did(
    number: int, follow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = pickle.loads(pickle.dumps(make_jobs("photos", follow, tmp_path)[number]))  # noqa: S301 - its own bytes
    module = importlib.import_module(type(job).__module__)

    def capture(
        uri: str, layout: str, name: str = "SOURCE", follow_links: bool | None = None
    ) -> None:
        assert uri == "photos"
        assert follow_links is follow
        raise _OpenedError

    monkeypatch.setattr(module, "open_source", capture)
    monkeypatch.setattr(module, "open_tools", lambda *_: None, raising=False)
    monkeypatch.setattr(module, "open_outputs", lambda *_: None, raising=False)
    with pytest.raises(_OpenedError):
        job.open()


def test_an_opened_dataset_states_whether_it_follows_links(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "photos/a.png").symlink_to(tmp_path / "a.png")
    assert not open_source(str(tmp_path / "photos"), "imagefolder").follow_links
    with follow_links():
        source = open_source(str(tmp_path / "photos"), "imagefolder")
        assert not open_source(source.uri, source.layout, follow_links=False).follow_links
    again = open_source(source.uri, source.layout, follow_links=source.follow_links)
    assert [record.id for record in again.records()] == ["a.png"]
