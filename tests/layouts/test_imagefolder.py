from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import curate
from curate.core.errors import DataError, WithheldError
from curate.core.protocols import Source, iter_sidecars
from curate.layouts import open_source
from curate.layouts.access.folder import LocalFolder
from curate.layouts.imagefolder import ImageFolder
from curate.publishing.dataset import open_dataset
from curate.publishing.publication import describe_form
from tests.contract.test_layouts import EXAMPLES


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_records_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["a.jpg", "a/z.png", "a-b/c.JPEG", "B.webp", "a/b/c/d.tif", "ä.bmp"]
    touch(tmp_path, *names)
    ids = [record.id for record in ImageFolder(LocalFolder(tmp_path)).records()]
    assert ids == sorted(names, key=lambda name: name.encode())


@pytest.mark.parametrize(
    ("path", "split", "category"),
    [
        ("train/n01/x.jpg", "train", "n01"),
        ("n01/x.jpg", None, "n01"),
        ("x.jpg", None, None),
        ("val/x.jpg", "val", None),
        ("train/a/b/x.jpg", "train", "b"),
        ("Test/cat/x.jpg", "Test", "cat"),
    ],
)
def test_split_and_category(
    path: str, split: str | None, category: str | None, tmp_path: Path
) -> None:
    record = ImageFolder(LocalFolder(tmp_path)).parse(path)
    assert (record.id, record.split, record.category) == (path, split, category)


def test_sidecar_files_are_copied_or_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "labels.csv", "b/notes.txt", "clip.mp4", ".DS_Store", "._a.jpg", "x")
    others = {
        str(other.path): other.copied for other in ImageFolder(LocalFolder(tmp_path)).sidecars()
    }
    assert others == {
        "labels.csv": True,
        "b/notes.txt": True,
        "clip.mp4": False,
        ".DS_Store": False,
        "._a.jpg": False,
        "x": False,
    }


def test_only_regular_files_are_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    source = ImageFolder(LocalFolder(tmp_path))
    assert list(source.records()) == []
    assert [(other.uri, other.copied) for other in source.sidecars()] == [("a.jpg", False)]


def test_a_name_that_is_not_utf_8_is_neither_read_nor_copied(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"train/caf\xe9/x.png"), os.fsdecode(b"caf\xe9.csv"))
    source = ImageFolder(LocalFolder(tmp_path))
    [record] = source.records()
    assert record == ImageFolder(LocalFolder(tmp_path)).parse("train/./caf\\xe9/x.png")
    assert (record.split, record.category) == ("train", "caf\\xe9")
    with pytest.raises(WithheldError, match="UTF-8"):
        source.read(record)
    assert [other.copied for other in source.sidecars()] == [False]


def test_a_source_that_is_not_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        ImageFolder(LocalFolder(tmp_path / "nothing"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="not a folder"):
        ImageFolder(LocalFolder(tmp_path / "file"))


@given(st.lists(st.text("ab./-", min_size=1, max_size=6), max_size=4))
def test_parsing_never_fails(parts: list[str]) -> None:
    path = "/".join([*parts, "x.jpg"])
    with tempfile.TemporaryDirectory() as folder:
        assert ImageFolder(LocalFolder(Path(folder))).parse(path).id == path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ds/train/cat/a.jpg", "ds/val/cat/b.jpg"], [("train", "cat"), ("val", "cat")]),
        (["ds/train/a.jpg", "ds/test/b.jpg"], [("test", None), ("train", None)]),
        (["x/y/train/cat/a.jpg"], [("train", "cat")]),
        (["vehicles/bus/a.jpg", "vehicles/train/b.jpg"], [(None, "bus"), (None, "train")]),
        (["val/train/a.jpg", "val/bus/b.jpg"], [("val", "bus"), ("val", "train")]),
        (
            ["cars_test/a.jpg", "cars_train/b.jpg", "devkit/c.txt"],
            [("test", None), ("train", None)],
        ),
        (["WIDER_test/images/a/a.jpg", "WIDER_val/images/a/b.jpg"], [("test", "a"), ("val", "a")]),
        (["ds/test_images/a.jpg", "ds/train_images/b.jpg"], [("test", None), ("train", None)]),
        (["x/test/a.jpg", "x/train_images/b.jpg"], [("test", None), ("train", None)]),
        (
            ["V2019-DET-test-dev/images/a.jpg", "V2019-DET-train/images/b.jpg"],
            [("test", None), ("train", None)],
        ),
        (
            ["bounding_box_test/a.jpg", "bounding_box_train/b.jpg", "query/c.jpg"],
            [("test", None), ("train", None), (None, "query")],
        ),
        (
            ["data_large/a/a.jpg", "test_large/b.jpg", "val_large/c.jpg"],
            [(None, "a"), ("test", None), ("val", None)],
        ),
        (
            ["G/Final_Test/Images/a.jpg", "G/Final_Training/Images/01/b.jpg"],
            [("test", None), ("training", "01")],
        ),
        (["WIDER_test/images/a.jpg"], [("test", None)]),
        (["beaker/a.jpg", "test_tube/b.jpg"], [(None, "beaker"), (None, "test_tube")]),
        (["test_strip/a.jpg", "test_tube/b.jpg"], [(None, "test_strip"), (None, "test_tube")]),
        (
            ["test_tube/a.jpg", "train_station/b.jpg"],
            [(None, "test_tube"), (None, "train_station")],
        ),
        (["train/n1/images/a.JPEG", "val/images/b.JPEG"], [("train", "n1"), ("val", None)]),
        (
            ["a/JPEGImages/a.jpg", "b/img/b.jpg", "images/c.jpg"],
            [(None, "a"), (None, "b"), (None, None)],
        ),
    ],
)
def test_a_split_is_found_at_any_depth(
    names: list[str], expected: list[tuple[str | None, str | None]], tmp_path: Path
) -> None:
    touch(tmp_path, *names)
    records = ImageFolder(LocalFolder(tmp_path)).records()
    assert [(record.split, record.category) for record in records] == expected


@pytest.mark.parametrize(
    "tool",
    [
        *(".git", ".ipynb_checkpoints", ".idea", "__MACOSX", "@eaDir", ".Trash-1000", "lost+found"),
        *(".venv", "node_modules", ".thumbnails", "System Volume Information"),
    ],
)
def test_folders_of_tools_are_never_data(tool: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", f"{tool}/b.jpg", f"x/{tool}/y/c.jpg", f"x/{tool}/d.json")
    source = ImageFolder(LocalFolder(tmp_path))
    assert [record.id for record in source.records()] == ["a.jpg"]
    assert list(source.sidecars()) == []
    assert source.find(f"{tool}/b.jpg") is None


def test_a_git_lfs_pointer_is_withheld_by_name(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (tmp_path / "a.jpg").write_bytes(pointer)
    source = ImageFolder(LocalFolder(tmp_path))
    with pytest.raises(WithheldError, match=r"^pointer: .*git lfs pull"):
        source.read(next(source.records()))


def test_archives_beside_images_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/c.txt")
    write_zip(tmp_path / "more.zip", "x/1.PNG")
    write_zip(tmp_path / "labels.zip", "x/1.txt")
    (tmp_path / "train.tar.gz").write_bytes(gzip.compress(b"not a tar"))
    [note] = ImageFolder(LocalFolder(tmp_path)).check()
    assert note.startswith("Files that may contain images left out: 2, such as 'more.zip'")


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (["photos.zip"], "'photos.zip', an archive that contains some; unpack"),
        (
            ["a/b/photos.zip", "a/notes.txt"],
            "'a/b/photos.zip', an archive that contains some; unpack",
        ),
        (
            ["a/b/c/d/e/photos.zip"],
            "'a/b/c/d/e/photos.zip', an archive that contains some; unpack it",
        ),
        (["images.dvc", "notes.txt"], "'images.dvc', which points to them; run `dvc pull`"),
    ],
)
def test_a_folder_whose_images_are_elsewhere_names_the_remedy(
    names: list[str], remedy: str, tmp_path: Path
) -> None:
    touch(tmp_path, *names)
    for name in names:
        if name.endswith(".zip"):
            write_zip(tmp_path / name, "1.jpg")
    with pytest.raises(DataError, match=remedy):
        open_source(str(tmp_path))


def write_zip(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"x")


@pytest.mark.parametrize("name", ["a", "a.jpg_large", "b/photo.jpeg!d", "x.0", "x.bin", "ü"])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_images_are_found_by_content_where_the_name_tells_nothing(
    name: str, format_: str, tmp_path: Path
) -> None:
    touch(tmp_path, name, "notes", "data.bin2")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format_)
    (tmp_path / name).write_bytes(buffer.getvalue())
    (tmp_path / "notes").write_bytes(b"BMW and other cars, in a text without a suffix")
    source = ImageFolder(LocalFolder(tmp_path))
    assert [record.id for record in source.records()] == [name]
    assert source.find(name) is not None
    assert source.find("notes") is None
    assert name not in {file.uri for file in source.sidecars()}


@pytest.mark.parametrize(
    "pointer",
    [
        b"/annex/objects/SHA256E-s9--0.jpg\n",
        b"../.git/annex/objects/Xk/7g/SHA256E-s9--0.jpg/SHA256E-s9--0.jpg",
    ],
)
def test_a_git_annex_pointer_is_withheld_by_name(pointer: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(pointer)
    source = ImageFolder(LocalFolder(tmp_path))
    with pytest.raises(WithheldError, match=r"^pointer: .*git annex get"):
        source.read(next(source.records()))


@pytest.mark.parametrize("name", ["a.parquet", "data/a.parquet", "train.tar", "metadata.jsonl"])
def test_a_pointer_in_place_of_a_container_or_annotation_is_named(
    name: str, tmp_path: Path
) -> None:
    touch(tmp_path, name)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (tmp_path / name).write_bytes(pointer)
    if name == "metadata.jsonl":
        touch(tmp_path, "a.jpg")
    layout = "hf_folder" if name == "metadata.jsonl" else "auto"
    with pytest.raises(DataError, match="is a Git LFS pointer; run `git lfs pull`"):
        read_all(open_source(str(tmp_path), layout))


def read_all(source: Source) -> None:
    list(source.check(strict=True))
    list(source.records())


def test_documents_of_a_dataset_are_copied(tmp_path: Path) -> None:
    documents = ["README.md", "x/LICENSE", "CITATION.cff", "readme.rst", "licence.txt"]
    touch(tmp_path, *documents, "README.pdf", "READMES", "LICENSE.md.zip")
    (tmp_path / "NOTICE").write_bytes(b"x" * ((1 << 20) + 1))
    source = ImageFolder(LocalFolder(tmp_path))
    assert {file.uri for file in source.sidecars() if file.copied} == set(documents)


NAMES = ["a.txt", "A.TXT", "a.csv", "a.json", "a.jsonl", "a.tsv", "a.xml", "a.parquet", "a.md",
         "README.md", "LICENSE", "README.txt", ".hidden", "._a", "sub/.x.txt"]  # fmt: skip


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_an_image_is_one_under_any_name(form: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (9, 99, 199)).save(stream, form)
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(stream.getvalue())
    source = open_source(str(tmp_path))
    assert {record.id for record in source.records()} == {*NAMES}
    assert list(iter_sidecars(source)) == []
    for name in NAMES:
        assert source.find(name) is not None


def test_texts_are_no_images(tmp_path: Path) -> None:
    texts = dict.fromkeys(NAMES, b"BMW, GIF and II*: words, more words, and again words")
    for name, text in {**texts, "a.txt": b"", "b.txt": b"\xff\xd8", "c.txt": b"GIF"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text)
    assert list(ImageFolder(LocalFolder(tmp_path)).records()) == []


@pytest.mark.parametrize(
    ("layout", "path"),
    [
        ("coco", "odd.txt"),
        ("voc", "JPEGImages/odd.txt"),
        ("yolo", "images/train/odd.json"),
        ("hf_folder", "odd.csv"),
    ],
)
def test_images_of_odd_names_are_images_in_every_layout_of_files(
    layout: str, path: str, tmp_path: Path
) -> None:
    EXAMPLES[layout].build(tmp_path)
    before = {record.id for record in open_source(str(tmp_path), layout).records()}
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40)).save(tmp_path / path, "PNG")
    after = {record.id for record in open_source(str(tmp_path), layout).records()}
    assert after - before == {path}


def make_cache(root: Path, kind: str = "datasets") -> Path:
    """A repository in the cache of the Hub, with one snapshot of links; returns the snapshot."""
    repository = root / f"{kind}--me--faces"
    snapshot = repository / "snapshots/0123abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    Image.new("RGB", (40, 40)).save(repository / "blobs/0a1b", "PNG")
    (snapshot / "a.png").symlink_to("../../blobs/0a1b")
    return snapshot


@pytest.mark.parametrize("root", ["", "hub", "huggingface/hub"])
@pytest.mark.parametrize("kind", ["datasets", "models"])
def test_a_cache_of_the_hub_is_refused_by_the_name_of_a_snapshot(
    root: str, kind: str, tmp_path: Path
) -> None:
    snapshot = make_cache(tmp_path / root, kind)
    for place, layout in (
        (tmp_path, "auto"),
        (snapshot.parents[1], "auto"),
        (snapshot.parents[1], "imagefolder"),
    ):
        with pytest.raises(DataError) as found:
            open_source(str(place), layout)
        assert repr(str(snapshot)) in str(found.value)
        assert "--follow-links" in str(found.value)
    source = open_source(str(snapshot), follow_links=True)
    assert [record.id for record in source.records()] == ["a.png"]


def test_folders_with_such_names_are_no_cache(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots/x").mkdir(parents=True)
    (tmp_path / "models--a/blobs").mkdir(parents=True)
    touch(tmp_path, "blobs/a.jpg", "snapshots/x/b.jpg", "models--a/blobs/c.jpg")
    assert len(list(open_source(str(tmp_path)).records())) == 3


SHARED = {
    "paths": (
        ["a/church/outdoor/1.jpg", "a/zoo/1.jpg", "c/flat/outdoor/1.jpg"],
        ["a/church/outdoor", "zoo", "c/flat/outdoor"],
    ),
    "paths in splits": (["train/x/big/1.jpg", "val/y/big/1.jpg"], ["x/big", "y/big"]),
    "a path and a folder": (["big/1.jpg", "train/y/big/1.jpg"], ["big", "y/big"]),
    "more than two": ([f"{n}/big/1.jpg" for n in "abc"], ["a/big", "b/big", "c/big"]),
}


@pytest.mark.parametrize("case", SHARED)
@pytest.mark.parametrize("layout", ["imagefolder", "hf_folder"])
def test_classes_of_one_name_are_named_by_their_paths(
    layout: str, case: str, tmp_path: Path
) -> None:
    names, wanted = SHARED[case]
    top = "data/" if layout == "hf_folder" else ""
    touch(tmp_path, *(f"{top}{name}" for name in names))
    (tmp_path / "metadata.csv").write_text("file_name\n")
    source = open_source(str(tmp_path), layout)
    records = list(source.records())
    assert [record.category for record in records] == wanted
    assert [open_source(str(tmp_path), layout).find(each.id) for each in records] == records
    several = [name for name in wanted if name.endswith(("outdoor", "big"))]
    note = f"1, such as {several[0]!r} and {several[1]!r}; these classes are named by their paths."
    assert next(each for each in source.check() if "paths" in each).endswith(note)


@pytest.mark.parametrize(
    "names",
    [
        ["train/x/big/1.jpg", "val/x/big/1.jpg"],
        ["train/big/1.jpg", "val/big/images/1.jpg", "val/big/2.jpg"],
        ["x/train/big/1.jpg", "x/val/big/1.jpg"],
    ],
)
def test_a_class_in_several_splits_has_one_name(names: list[str], tmp_path: Path) -> None:
    touch(tmp_path, *names)
    source = ImageFolder(LocalFolder(tmp_path))
    assert {record.category for record in source.records()} == {"big"}
    assert list(source.check()) == []


def test_an_audit_a_manifest_and_what_is_published_have_the_same_classes(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    names = ["a/church/outdoor/1.jpg", "c/flat/outdoor/1.jpg", "c/zoo/1.jpg"]
    for name in names:
        touch(root, name)
        Image.new("RGB", (48, 40), (9, 99, 199)).save(root / name)
    (tmp_path / "faces.json").write_text(json.dumps([{"file": n, "faces": []} for n in names]))
    curate.blur(root, out, faces=tmp_path / "faces.json", workers=1)
    wanted = {"a/church/outdoor", "c/flat/outdoor", "zoo"}
    assert {entry.category for entry in curate.load_manifest(out).entries()} == wanted
    table = tmp_path / "groups.csv"
    table.write_text("\n".join(["file,group", *(f"{name},x" for name in names)]))
    audit = curate.audit(out / "data", by=["group"], groups=table, label="category")
    assert audit.to_dict()["labels"].keys() == wanted
    form = describe_form(open_dataset(out), None)
    assert form.name == "parquet"
    [label] = [each for each in form.features if each["name"] == "label"]
    assert set(label["dtype"]["class_label"]["names"].values()) == wanted
