from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from curate.cli.detect import command
from curate.core.errors import DataError, UsageError
from curate.detectors.candidates import Candidates
from curate.detectors.fusion import Decision
from curate.detectors.profiles import Rule
from curate.pipeline.explanation import describe, explain
from curate.recipe import Recipe
from curate.report.values import Table
from tests.detectors.pictures import astronaut, packaged
from tests.report.checks import check_page


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return path


def decision(probabilities: list[float], sides: list[float]) -> Decision:
    """Candidates of a full pass, side by side, decided by the default rule."""
    boxes = np.array([[40.0 * i, 0, 40 * i + side, side] for i, side in enumerate(sides)])
    chances = np.array(probabilities)
    accepted = Rule().accepts(chances, boxes[:, 3], crowded=True)
    return Decision("full", ("× 1.5",), boxes, chances[:, None], None, None, chances, accepted)


def reasons(made: Decision) -> list[str]:
    pixels = np.zeros((60, 400, 3), np.uint8)
    page = describe("some.jpg", pixels, made, Rule(), Recipe())
    (table,) = [b for s in page.sections for b in s.blocks if isinstance(b, Table)]
    return [row[-1] for row in table.rows]


def test_the_page_has_the_picture_and_a_row_for_the_face(portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "why.html"
    assert explain(portrait, out) == 1
    page = out.read_text()
    assert "1 face from" in page
    check_page(page, portrait.name)
    assert re.search(r"<td[^>]*>face</td>", page)
    assert page.count("data:image/jpeg;base64,") == 1
    assert not re.search(r'(src|href)="?https?:', page)


def test_an_image_without_candidates_has_a_page_as_well(tmp_path: Path) -> None:
    path = tmp_path / "coffee.png"
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(path)
    assert explain(path, tmp_path / "why.html") == 0
    assert "no score of 0.05 in any pass" in (tmp_path / "why.html").read_text()
    Image.fromarray(packaged("coffee.png")).save(path)
    assert explain(path, tmp_path / "why.html") == 0


def test_each_reason_names_the_threshold_that_was_missed() -> None:
    assert reasons(decision([0.9, 0.3, 0.1, 0.3], [30, 30, 30, 10])) == [
        "face",
        "face",
        "rejected: too small for its probability",
        "rejected: improbable",
    ]
    assert reasons(decision([0.3], [30])) == ["rejected: improbable without a sure face nearby"]


def test_a_box_that_was_suppressed_says_so() -> None:
    made = decision([0.9, 0.8], [30, 30])
    made.boxes[1] = made.boxes[0] + 1
    assert reasons(made) == ["face", "same face as a more probable box"]
    assert isinstance(made.faces, Candidates)
    assert len(made.faces) == 1


def test_other_detectors_and_files_are_errors(portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fusion"):
        explain(portrait, tmp_path / "why.html", Recipe(detector="centerface"))
    with pytest.raises(DataError, match=r"absent\.png"):
        explain(tmp_path / "absent.png", tmp_path / "why.html")
    assert not (tmp_path / "why.html").exists()


def test_the_command_takes_either_a_source_or_an_image(portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "why.html"
    done = CliRunner().invoke(command, ["--explain", str(portrait), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert out.exists()
    for wrong in ([], [str(tmp_path), "--explain", str(portrait)]):
        done = CliRunner().invoke(command, [*wrong, "-o", str(out)])
        assert isinstance(done.exception, UsageError)
