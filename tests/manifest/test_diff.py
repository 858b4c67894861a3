from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from curate.core.entries import ManifestEntry, Outcome
from curate.core.faces import Face
from curate.core.geometry import Box, shift
from curate.manifest import store
from curate.manifest.diff import count_unmatched, diff_manifests, format_value
from tests.conftest import ROOT

DEMO = ROOT / "manifests/demo"


def rewrite(target: Path, change: Callable[[ManifestEntry], ManifestEntry | None]) -> Path:
    shutil.copytree(DEMO, target)
    for part in store.iter_parts(DEMO / "records"):
        changed = (change(entry) for entry in store.iter_part(part))
        store.save_part([entry for entry in changed if entry], target / "records" / part.name)
    return target


def test_a_run_has_no_difference_from_itself() -> None:
    found = diff_manifests(DEMO, DEMO)
    assert found.facts == {}
    assert found.by_category == {}
    assert found.total.images == 12
    assert not found.total.is_any


def test_changed_faces_outcomes_and_facts_are_reported_by_class(tmp_path: Path) -> None:
    def change(entry: ManifestEntry) -> ManifestEntry | None:
        name = entry.id.rpartition("/")[2]
        if name == "group.png":  # one face lost, one moved away: lost and added
            first, second, _ = entry.faces
            moved = replace(second, box=shift(second.box, 300, 0))
            faces = (first, moved)
            return replace(entry, faces=faces, hidden=entry.hidden[:2], output_sha256="0" * 64)
        if name == "coins.png":
            return replace(entry, outcome=Outcome.WITHHELD, faces=(), hidden=())
        return None if name == "rocket.jpg" else entry

    other = rewrite(tmp_path / "other", change)
    run = json.loads((other / "run.json").read_text())
    run["recipe"]["profile"] = "fast"
    run["detectors"] = run["detectors"][:1]
    (other / "run.json").write_text(json.dumps(run))
    found = diff_manifests(DEMO, other)
    assert found.facts["recipe.profile"] == ("balanced", "fast")
    assert found.facts["detectors.verifier"] == ("present", "absent")
    assert (found.only_first, found.only_second) == (1, 0)
    assert (found.total.faces_lost, found.total.faces_added) == (2, 1)
    assert found.by_category["people"].faces_lost == 2
    assert found.by_category["coins"].now_withheld == 1
    assert set(found.by_category) == {"people", "coins"}
    assert found.changed_outputs == 1
    assert diff_manifests(other, DEMO).total.now_written == 1
    lines = found.to_text().splitlines()
    assert "  recipe.profile: balanced → fast" in lines
    assert not any(mark in found.to_text() for mark in ("'", "[", "{"))
    assert re.search("[0-9a-f]{13}", found.to_text()) is None, "digests are shortened"


def test_faces_are_matched_one_to_one_best_first() -> None:
    a, b = Face(Box(0, 0, 10, 10)), Face(Box(2, 0, 12, 10))
    assert count_unmatched([a, b], [b]) == 1
    assert count_unmatched([a], [a, b]) == 0
    assert count_unmatched([a], [Face(Box(8, 0, 18, 10))]) == 1
    assert count_unmatched([], [a]) == 0


def test_values_are_shown_in_words() -> None:
    values = (None, True, False, 1200, 0.5, [], ["a", 2], "", "0" * 64)
    shown = ["none", "yes", "no", "1,200", "0.5", "none", "a, 2", "none", "0" * 12 + "…"]
    assert [*map(format_value, values)] == shown
