from __future__ import annotations

from curate.storage.index import NameIndex


def test_a_name_is_new_once_in_its_kind() -> None:
    names = NameIndex()
    assert names.add("image", "a", "train")
    assert not names.add("image", "a", "val")
    assert names.add("label", "a")
    assert names.get("image", "a") == "train"
    assert names.get("image", "b") is None


def test_names_of_one_kind_only_are_counted() -> None:
    names = NameIndex()
    for name in ("c", "a", "b"):
        names.add("image", name)
    names.add("label", "b")
    assert names.only_in("image", "label") == (2, "a")
    assert names.only_in("label", "image") == (0, "")


def test_many_names_do_not_stay_in_memory() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = NameIndex()
    for number in range(200_000):
        names.add("image", f"a/rather/long/name/of/a/file/{number:0100}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10
    names.close()
