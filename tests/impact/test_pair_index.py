from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError
from curate.impact.pair_index import open_pair_index

A, B = Path("a"), Path("b")


def entry(name: str, outcome: Outcome) -> ManifestEntry:
    return ManifestEntry(name, None, None, name, "aa", 1, outcome=outcome, blurred_share=0.25)


def test_rows_of_one_id_share_a_position(tmp_path: Path) -> None:
    with open_pair_index(tmp_path) as pairing:
        pairing.add_file(A, [["c", "a"], ["x"]])
        pairing.add_file(B, [["a", "y", "c"]])
        assert pairing.join() == 2
        assert pairing.load_positions(0).tolist() == [1, 0, -1]
        assert pairing.load_positions(1).tolist() == [0, -1, 1]
        assert list(pairing.iter_ids()) == ["a", "c"]
        assert pairing.name(1) == "c"
        assert pairing.find_unpaired(0) == (1, "x")
        assert pairing.find_unpaired(1) == (1, "y")


def test_withheld_originals_are_not_counted_as_unpaired(tmp_path: Path) -> None:
    with open_pair_index(tmp_path) as pairing:
        pairing.add_file(A, [["a", "b", "c"]])
        pairing.add_file(B, [["a", "d"]])
        pairing.add_entries(
            [
                entry("a", Outcome.WRITTEN),
                entry("b", Outcome.WITHHELD),
                entry("d", Outcome.WITHHELD),
            ]
        )
        pairing.join()
        assert pairing.find_unpaired(0) == (1, "c")
        assert pairing.find_unpaired(1) == (1, "d")
        assert pairing.count_withheld() == 1
        [recorded] = pairing.iter_recorded()
        assert (recorded.id, recorded.withheld, recorded.share) == ("a", False, 0.25)


def test_unlisted_images_differ_from_withheld_ones(tmp_path: Path) -> None:
    with open_pair_index(tmp_path) as pairing:
        pairing.add_file(A, [["a"]])
        pairing.join()
        [recorded] = pairing.iter_recorded()
        assert recorded.withheld is None


@pytest.mark.parametrize("batches", [[["a", "b", "a"]], [["a"], ["b", "a"]], [["b"], ["a", "a"]]])
def test_duplicate_id_is_refused(tmp_path: Path, batches: list[list[str]]) -> None:
    with (
        open_pair_index(tmp_path) as pairing,
        pytest.raises(DataError, match="b has the id 'a' twice"),
    ):
        pairing.add_file(B, batches)


def test_empty_file_and_invalid_id_are_refused(tmp_path: Path) -> None:
    with open_pair_index(tmp_path) as pairing:
        with pytest.raises(DataError, match="a has no predictions"):
            pairing.add_file(A, [])
        with pytest.raises(DataError, match="b has an id that is not text"):
            pairing.add_file(B, [["\udcff"]])
