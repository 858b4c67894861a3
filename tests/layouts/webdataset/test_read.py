from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from curate.core.errors import DataError, WithheldError
from curate.layouts import open_source, recognize
from curate.layouts.access.folder import LocalFolder
from curate.layouts.webdataset.read import WebDataset
from tests.layouts.shards import picture, read_all, read_tar, rebuild, write_tar

SAMPLES = [
    ("b/2.jpg", picture(1)),
    ("b/2.json", b'{"caption": "two"}'),
    ("b/2.seg.png", picture(2)),
    ("1.PNG", picture(3)),
    ("1.cls", b"7"),
    ("ä.jpg", picture(4)),
    ("x" * 150 + ".jpg", picture(5)),
    ("README", b"some words"),
]


@pytest.fixture
def source(tmp_path: Path) -> WebDataset:
    write_tar(tmp_path / "in/train-0000.tar", SAMPLES)
    write_tar(tmp_path / "in/val/a.tar", [("1.jpg", picture(6))])
    write_tar(tmp_path / "in/val/a.tar-b/c.tar", [("1.jpg", picture(7))])
    (tmp_path / "in/sizes.json").write_text("{}")
    (tmp_path / "in/cover.jpg").write_bytes(picture(8))
    return WebDataset(LocalFolder(tmp_path / "in"))


def test_images_are_found_in_order_and_read(source: WebDataset) -> None:
    images = read_all(source)
    assert list(images) == [
        "train-0000.tar/1.PNG",
        "train-0000.tar/b/2.jpg",
        "train-0000.tar/b/2.seg.png",
        f"train-0000.tar/{'x' * 150}.jpg",
        "train-0000.tar/ä.jpg",
        "val/a.tar-b/c.tar/1.jpg",
        "val/a.tar/1.jpg",
    ]
    assert images["train-0000.tar/b/2.seg.png"] == picture(2)
    assert {record.split for record in source.records()} == {"train", "val"}
    [first, *_] = source.records()
    assert source.size(first) == len(picture(3))
    assert source.find("train-0000.tar/1.cls") is None
    assert source.find("nothing.tar/1.jpg") is None


def test_files_next_to_tar_files_are_listed(source: WebDataset) -> None:
    others = {str(other.path): other.copied for other in source.sidecars()}
    assert others == {"cover.jpg": False, "sizes.json": True}


def test_a_record_is_read_in_another_process_than_its_own(source: WebDataset) -> None:
    again = open_source(source.uri, source.layout)
    assert [again.read(record) for record in source.records()] == list(read_all(source).values())


def test_identity_keeps_names_bytes_and_order(source: WebDataset, tmp_path: Path) -> None:
    images = read_all(source)
    rebuilt, left = rebuild(source, images, tmp_path / "out")
    assert left == []
    assert read_tar(tmp_path / "out/train-0000.tar") == SAMPLES
    assert read_all(rebuilt) == images
    for container in rebuilt.containers():
        assert list(rebuilt.inspect(container)) == []


def test_headers_have_no_owner_and_time(tmp_path: Path) -> None:
    header = {"gname": "staff", "gid": 7, "mode": 0o640, "pax_headers": {"comment": "by jane"}}
    write_tar(tmp_path / "in/a.tar", [("1.jpg", picture(1))], **header)
    source = WebDataset(LocalFolder(tmp_path / "in"))
    rebuild(source, read_all(source), tmp_path / "out")
    with tarfile.open(tmp_path / "out/a.tar") as tar:
        [info] = tar
    assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 0)
    assert (info.mode, info.pax_headers) == (0o640, {})
    assert b"jane" not in (tmp_path / "out/a.tar").read_bytes()


def test_a_sample_without_its_image_is_dropped(source: WebDataset, tmp_path: Path) -> None:
    images = read_all(source)
    del images["train-0000.tar/1.PNG"]
    rebuilt, left = rebuild(source, images, tmp_path / "out")
    assert [(str(one.path), one.copied) for one in left] == [("train-0000.tar/1.cls", False)]
    assert "withheld" in left[0].reason
    names = [name for name, _ in read_tar(tmp_path / "out/train-0000.tar")]
    assert names == [name for name, _ in SAMPLES if not name.startswith("1.")]
    assert read_all(rebuilt) == images


def test_a_sample_keeps_its_written_images(source: WebDataset, tmp_path: Path) -> None:
    """The manifest says that they are there."""
    images = read_all(source)
    del images["train-0000.tar/b/2.seg.png"]
    rebuilt, left = rebuild(source, images, tmp_path / "out")
    assert left == []
    assert read_all(rebuilt) == images
    assert ("b/2.json", b'{"caption": "two"}') in read_tar(tmp_path / "out/train-0000.tar")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("1.npy", b"\x93NUMPY\x01\x00", "it is neither JSON nor a short text"),
        ("1.thumb", picture(9), "it is neither JSON nor a short text"),
        ("1.pixels", b"128 130 127 " * 2000, "it is neither JSON nor a short text"),
        ("1.large", b"dog " * 100_000, "it is neither JSON nor a short text"),
        ("1.svg", b"<svg/>", "it is neither JSON nor a short text"),
        ("1.json", b'{"a": 1', "it is not valid JSON"),
        ("1.json", json.dumps(list(range(999))).encode(), "it is over the limits"),
        ("1.json", json.dumps(["A9" * 99] * 9).encode(), "it is over the limits"),
        ("1.txt", base64.b64encode(bytes(range(256)) * 9), "neither a short text nor prose"),
        ("1.cls", b"\xff\xd8", "not UTF-8"),
        (os.fsdecode(b"caf\xe9.txt"), b"a", "UTF-8"),
    ],
)
def test_a_member_that_may_be_an_image_is_left_out(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    members = [("1.jpg", picture(1)), (name, data), ("2.txt", b"kept")]
    write_tar(tmp_path / "in/a.tar", members)
    source = WebDataset(LocalFolder(tmp_path / "in"))
    _, [left] = rebuild(source, read_all(source), tmp_path / "out")
    assert reason in left.reason
    assert read_tar(tmp_path / "out/a.tar") == [members[0], members[2]]


def test_a_long_text_is_copied_whole(tmp_path: Path) -> None:
    text = b"a line of words\n" * 1000
    write_tar(tmp_path / "in/a.tar", [("1.jpg", picture(1)), ("1.txt", text)])
    source = WebDataset(LocalFolder(tmp_path / "in"))
    rebuild(source, read_all(source), tmp_path / "out")
    assert read_tar(tmp_path / "out/a.tar")[1] == ("1.txt", text)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("1.json", b'["A dog.", "A brown dog on grass."]'),
        ("1.json", b'[{"bbox": [1, 2, 3, 4], "label": "dog"}]'),
        ("1.json", b'"dog"'),
        ("1.target", b"3\n"),
        ("1.cls", b"n01440764"),
        ("1.transcript", b"A dog on grass."),
        ("1.prompt", b"a photo of a dog"),
        ("1.txt", b"0 0.5 0.5 0.25 0.25\n" * 40),
        ("1.xml", b"<annotation><filename>1.jpg</filename></annotation>\n"),
        ("README.zh-CN.md", "一个数据集\n".encode()),
    ],
)
def test_annotations_of_samples_are_kept(tmp_path: Path, name: str, data: bytes) -> None:
    members = [("1.jpg", picture(1)), (name, data)]
    write_tar(tmp_path / "in/a.tar", members)
    source = WebDataset(LocalFolder(tmp_path / "in"))
    _, left = rebuild(source, read_all(source), tmp_path / "out")
    assert left == []
    assert read_tar(tmp_path / "out/a.tar") == members


def test_links_devices_and_folders_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in [("d", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE), ("f", b"6")]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, "/etc/passwd", 0o755
            tar.addfile(info)
        info = tarfile.TarInfo("./d/1.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
        for number in range(40):  # names of folders could hold anything
            info = tarfile.TarInfo(f"{number}_{base64.urlsafe_b64encode(picture(number)).decode()}")
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
    source = WebDataset(LocalFolder(tmp_path))
    assert read_all(source) == {"a.tar/d/1.jpg": b"abc"}
    written, left = rebuild(source, read_all(source), tmp_path / "out")
    assert [one.reason for one in left] == ["it is a link", "it is neither a file nor a folder"]
    with tarfile.open(tmp_path / "out/a.tar") as tar:
        assert tar.getnames() == ["./d/1.jpg"]
    assert list(written.inspect("a.tar")) == []
    assert list(source.inspect("a.tar")) != []


@pytest.mark.parametrize("name", ["d//1", "d/./1", "././d/1", "d" + "/." * 99 + "//" * 99 + "/1"])
def test_dots_and_slashes_of_names_that_change_nothing_are_not_written(
    tmp_path: Path, name: str
) -> None:
    members = [(f"{name}.jpg", picture(1)), (f"{name}.cls", b"3")]
    source = WebDataset(LocalFolder(write_tar(tmp_path / "in/a.tar", members).parent))
    rebuild(source, read_all(source), tmp_path / "out")
    kept = "./d/1" if name.startswith("./") else "d/1"
    assert [name for name, _ in read_tar(tmp_path / "out/a.tar")] == [f"{kept}.jpg", f"{kept}.cls"]


@pytest.mark.parametrize(
    "name", ["x" * 252 + ".cls", "x" * 252 + ".json", "/".join(["x" * 99] * 11)]
)
def test_annotations_with_names_that_no_file_can_have_are_left_out(
    tmp_path: Path, name: str
) -> None:
    source = WebDataset(
        LocalFolder(write_tar(tmp_path / "in/a.tar", [("1.jpg", picture(1)), (name, b"3")]).parent)
    )
    _, left = rebuild(source, read_all(source), tmp_path / "out")
    assert [one.reason for one in left] == ["its name is not valid UTF-8 or too long"]
    assert [name for name, _ in read_tar(tmp_path / "out/a.tar")] == ["1.jpg"]


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.jpg"), "x" * 252 + ".jpg"])
def test_a_name_that_no_file_can_have_is_withheld(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "in/a.tar", [(name, picture(1)), ("2.jpg", picture(2))])
    source = WebDataset(LocalFolder(tmp_path / "in"))
    odd = next(record for record in source.records() if record.id != "a.tar/2.jpg")
    with pytest.raises(WithheldError, match="name"):
        source.read(odd)
    rebuild(source, {odd.id: b"x", "a.tar/2.jpg": picture(2)}, tmp_path / "out")
    assert read_tar(tmp_path / "out/a.tar") == [("2.jpg", picture(2))]


def test_an_image_with_holes_is_withheld(tmp_path: Path) -> None:
    headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "4096"}
    write_tar(tmp_path / "a.tar", [("1.jpg", b"x")], pax_headers=headers)
    source = WebDataset(LocalFolder(tmp_path))
    [record] = source.records()
    assert source.size(record) is None
    with pytest.raises(WithheldError, match="sparse"):
        source.read(record)


def test_what_follows_the_end_is_not_copied(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "in/a.tar", [("1.jpg", picture(1))])
    path.write_bytes(path.read_bytes() + picture(2) * 10)
    source = WebDataset(LocalFolder(tmp_path / "in"))
    rebuild(source, read_all(source), tmp_path / "out")
    assert picture(2) not in (tmp_path / "out/a.tar").read_bytes()


def test_a_tar_without_its_last_blocks_is_whole(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.jpg", b"x" * 512)])
    path.write_bytes(path.read_bytes()[:1024])
    assert read_all(WebDataset(LocalFolder(tmp_path))) == {"a.tar/1.jpg": b"x" * 512}


def damage(data: bytes) -> bytes:
    """Break the second header."""
    return data[:1124] + b"\xff" * 100 + data[1224:]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:1300],  # within a header
        lambda data: data[:1700],  # within a member
        lambda _: b"",
        lambda _: b"no tar" * 500,
        damage,
    ],
)
def test_a_damaged_tar_is_one_clear_line(tmp_path: Path, spoil: object) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.jpg", b"x" * 512), ("2.jpg", b"y" * 512)])
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataError, match=r"'a\.tar' is not a valid tar file") as raised:
        list(WebDataset(LocalFolder(tmp_path)).records())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["../1.jpg", "/1.jpg", "a/../../1.jpg"])
def test_a_member_outside_the_tar_file_ends_the_run(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "a.tar", [(name, b"x")])
    with pytest.raises(DataError, match="points outside it"):
        list(WebDataset(LocalFolder(tmp_path)).records())


def test_two_members_of_one_name_end_the_run(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.jpg", b"x"), ("./1.jpg", b"y")])
    with pytest.raises(DataError, match="two members"):
        list(WebDataset(LocalFolder(tmp_path)).records())


def test_an_image_is_no_folder(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.jpg", b"x"), ("1.jpg/2.jpg", b"y")])
    with pytest.raises(DataError, match="both an image and a folder"):
        list(WebDataset(LocalFolder(tmp_path)).records())


def test_a_compressed_tar_names_the_remedy(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.jpg", b"x")])
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert recognize(LocalFolder(tmp_path))[0] == "webdataset"
    with pytest.raises(DataError, match="decompress it"):
        list(WebDataset(LocalFolder(tmp_path)).records())


@pytest.mark.parametrize("tar", ["backup.tar", "more/train.tar", "x/y/z.tar"])
def test_tars_of_images_beside_images_are_not_left_out(tmp_path: Path, tar: str) -> None:
    write_tar(tmp_path / tar, [("1.jpg", b"x")])
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats/1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=f"--format webdataset .{tar}. or --format imagefolder"):
        recognize(LocalFolder(tmp_path))


def test_tars_of_texts_beside_images_are_no_webdataset(tmp_path: Path) -> None:
    write_tar(tmp_path / "labels.tar", [("1.txt", b"x"), ("2.json", b"{}")])
    (tmp_path / "1.jpg").write_bytes(b"")
    assert recognize(LocalFolder(tmp_path))[0] == "imagefolder"
    assert list(open_source(str(tmp_path)).check()) == []


def test_the_downloaded_tar_beside_an_unpacked_dataset_is_noted(tmp_path: Path) -> None:
    write_tar(tmp_path / "VOCtrainval.tar", [("JPEGImages/1.jpg", b"x")])
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / "VOC2012" / name).mkdir(parents=True)
    (tmp_path / "VOC2012/JPEGImages/1.jpg").write_bytes(b"")
    (tmp_path / "VOC2012/Annotations/1.xml").write_bytes(b"<annotation/>")
    assert recognize(LocalFolder(tmp_path))[0] == "voc"
    notes = list(open_source(str(tmp_path)).check())
    assert notes[0].startswith("Files that may contain images left out: 1")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"caption", b"kaption", 1)[:-512] + picture(1),
        lambda data: data[:700] + b"x" + data[701:],
        lambda data: data.replace(b"0000644", b"0000600", 1),
    ],
)
def test_hidden_data_in_an_output_is_found(tmp_path: Path, change: object) -> None:
    members = [("1.jpg", picture(1, 4)), ("1.json", b'{"caption": "two"}')]
    write_tar(tmp_path / "in/a.tar", members)
    source = WebDataset(LocalFolder(tmp_path / "in"))
    rebuilt, _ = rebuild(source, read_all(source), tmp_path / "out")
    path = tmp_path / "out/a.tar"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    assert _inspect(rebuilt)


def _inspect(source: object) -> list[str]:
    try:
        return list(source.inspect("a.tar"))  # type: ignore[attr-defined]
    except DataError as error:
        return [str(error)]


# Its reader leaves files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_same_samples(source: WebDataset, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    rebuild(source, read_all(source), tmp_path / "out")

    def samples(root: Path) -> list[dict[str, object]]:
        path = str(root / "train-0000.tar")
        found = webdataset.WebDataset(path, shardshuffle=False, empty_check=False)
        places = ("__url__", "__local_path__")
        return [{key: one[key] for key in one if key not in places} for one in found]

    assert samples(tmp_path / "out") == samples(tmp_path / "in")
    assert [one["__key__"] for one in samples(tmp_path / "out")][:2] == ["b/2", "1"]
