"""What every command writes, held byte by byte.

The digests in ``digests/`` were made with the pinned versions. A change that means to alter a
byte of an output, a manifest or a report runs this file with ``CURATE_UPDATE_FINGERPRINTS=1``
and says so in the changelog.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.contract.test_layouts import EXAMPLES
from tests.fingerprints import commands

DIGESTS = Path(__file__).parent / "digests"
NOT_HELD = re.compile(r"manifest/log\.jsonl|SHA256SUMS|key\.txt|state\.json")
"""Clocks, their digests, a random key, and counts of a work folder."""

NUMBERS = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")
DIGESTS_OF_WEIGHTS = re.compile(rb"\b(?=[0-9]*[a-f])[0-9a-f]{12,64}\b")
MASKED = {"impact evaluate", "impact train", "impact explain"}
"""Their figures, and digests of weights and predictions, come out of a network, whose last digits
depend on the processor."""

PINNED = ("numpy", "opencv-python", "pyarrow", "pillow", "scipy", "albumentations", "jinja2")


def is_pinned() -> bool:
    root = Path(__file__).parents[2]
    pins = dict(
        line.lower().split("==")
        for line in (root / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    return all(pins[name] == version(name) for name in PINNED)


pytestmark = pytest.mark.skipif(not is_pinned(), reason="needs the versions of constraints.txt")


def digest(path: Path, step: str) -> str:
    data = path.read_bytes()
    if step in MASKED and path.suffix in (".json", ".html"):
        data = NUMBERS.sub(b"#", DIGESTS_OF_WEIGHTS.sub(b"digest", data))
        data = re.sub(rb"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", b"picture", data)
    return hashlib.sha256(data).hexdigest()[:16]


def take(step: str, folder: Path) -> dict[str, str]:
    """Digests of everything below a folder, by path."""
    return {
        f"{step}/{path.relative_to(folder).as_posix()}": digest(path, step)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not NOT_HELD.search(path.as_posix())
    }


def hold(name: str, found: dict[str, str]) -> None:
    path = DIGESTS / f"{name}.json"
    if os.environ.get("CURATE_UPDATE_FINGERPRINTS"):
        DIGESTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=0, ensure_ascii=True) + "\n")
    assert found == json.loads(path.read_text())


@pytest.mark.parametrize("layout", list(EXAMPLES))
def test_every_byte_of_every_layout_is_as_it_was(layout: str, tmp_path: Path) -> None:
    found: dict[str, str] = {}
    for step, folder in commands.run_layout(EXAMPLES[layout], tmp_path):
        found |= take(step, folder)
    hold(layout, found)


def test_every_byte_of_every_other_report_is_as_it_was(tmp_path: Path) -> None:
    found: dict[str, str] = {}
    for step, folder in commands.run_others(tmp_path):
        found |= take(step, folder)
    hold("reports", found)
