"""Every layout, and remote storage, can be reviewed and exported."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import curate
from curate.pipeline.session import Session
from curate.recipe import Recipe
from tests.contract.test_layouts import EXAMPLES
from tests.review.conftest import Serve
from tests.s3_server import S3Server
from tests.s3_server import serve as serve_s3

ADDED = {"state": "added", "origin": None, "xyxy": [4, 4, 20, 20]}


@pytest.mark.parametrize("layout", list(EXAMPLES))
def test_a_dataset_of_every_layout_is_reviewed_and_blurred(
    serve: Serve, tmp_path: Path, layout: str
) -> None:
    source = tmp_path / "data"
    source.mkdir()
    EXAMPLES[layout].build(source)
    served = serve(source, folder=tmp_path / "x.review", layout=layout)
    count = served.ask("GET", "/api/status")[1]["images"]
    assert count == len(EXAMPLES[layout].splits)
    for number in range(1, count + 1):
        assert served.decide(number, [ADDED])[0] == 200
    served.stop()  # type: ignore[attr-defined]
    done = curate.export_review(tmp_path / "x.review", tmp_path / "x.parquet")
    assert (done.reviewed, done.by_person) == (count, count)
    session = Session(workers=1, layout=layout, faces=tmp_path / "x.parquet")
    summary = curate.blur(source, tmp_path / "out", Recipe(method="fill"), session)
    assert summary.faces == summary.written == count


@pytest.fixture
def bucket(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    import fsspec

    shutil.copytree(dataset, tmp_path / "s3" / "bucket" / "photos")
    with serve_s3(tmp_path / "s3") as running:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield running


@pytest.mark.usefixtures("bucket")
def test_a_remote_dataset_is_reviewed(serve: Serve, tmp_path: Path) -> None:
    served = serve("s3://bucket/photos", faces=tmp_path / "faces.json")  # type: ignore[arg-type]
    assert served.view(1)["boxes"][0]["xyxy"] == [30, 20, 60, 50]
    assert served.decide(1)[0] == 200
    served.stop()  # type: ignore[attr-defined]
    assert served.state.decided == 1


def test_a_storage_that_stops_answering_is_one_line(
    serve: Serve, bucket: S3Server, tmp_path: Path
) -> None:
    served = serve("s3://bucket/photos", faces=tmp_path / "faces.json")  # type: ignore[arg-type]
    bucket.lives = 0
    status, said, _ = served.ask("GET", "/api/view/1")
    assert status == 500
    assert "\n" not in said["error"]
    assert served.ask("GET", "/api/status")[1]["open"] == 6, "the image is not given up"
