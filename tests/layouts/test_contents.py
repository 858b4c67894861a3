from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.layouts import open_source, recognize
from curate.layouts.access.folder import LocalFolder
from curate.layouts.contents import find_contained, find_unread
from tests.layouts.examples.example import jpeg, png

TEXT = base64.b64encode(jpeg(1)).decode()


def tar(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


def table(column: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(len(column))), "data": column}), file)
    return file.getvalue()


def arrays(**values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **values)  # type: ignore[arg-type]
    return file.getvalue()


def array(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


PIXELS = np.zeros((28, 28), np.uint8)
INNER = tar(("n1_1.JPEG", jpeg(1)))
IMAGES = {
    "a.tar": tar(("a.jpg", jpeg(1))),
    "a.zip": zipped("x/a.png"),
    "a.docx": zipped("word/media/image1.jpeg"),
    "a.tar.gz": gzip.compress(tar(("a.jpg", jpeg(1)))),
    "train.tgz": gzip.compress(tar(("a.webp", b""))),
    "img_train.tar": tar(("n1.tar", INNER), ("n2.tar", INNER)),
    "bytes.parquet": table([jpeg(1), jpeg(2)]),
    "text.parquet": table([TEXT, TEXT]),
    "lists.parquet": table([list(jpeg(1)), list(jpeg(2))]),
    "hub.parquet": table([{"bytes": jpeg(1), "path": "a.jpg"}]),
    "labelme.json": json.dumps({"version": "5", "imageData": TEXT}).encode(),
    "escaped.json": json.dumps({"imageData": TEXT}).replace("/", "\\/").encode(),
    "url.html": f'<img src="data:image/jpeg;base64,{TEXT}">'.encode(),
    "rows.csv": f"1,{TEXT}\n".encode(),
    "pages.tsv": f"1\t{base64.b64encode(png(1)).decode()}\n".encode(),
    "safe.txt": base64.urlsafe_b64encode(jpeg(1)),
    "wide.txt": TEXT.encode("utf-16"),
    "lines.txt": base64.encodebytes(jpeg(1)),
    "late.jsonl": b'{"a": 1}\n' * 200_000 + json.dumps({"b": TEXT}).encode(),
    "t.npz": arrays(x=np.zeros((10, 28, 28), np.uint8)),
    "t.npy": array(PIXELS),
    "float.npy": array(np.zeros((2, 32, 32, 3), np.float32)),
    "rgb.npy": array(np.zeros((32, 32, 3), np.float32)),
    "train-images-idx3-ubyte": struct.pack(">IIII", 2051, 1, 28, 28) + bytes(784),
    "train-images.gz": gzip.compress(struct.pack(">IIII", 2051, 1, 28, 28) + bytes(784)),
    "data_batch_1": pickle.dumps({"data": PIXELS}, 2),
    "data_batch_1.bin": bytes(3073 * 2),
    "data.mdb": bytes(16) + b"\xde\xc0\xef\xbe" + bytes(100),
    "a.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "train.tfrecord-00000-of-00002": struct.pack("<QI", 9, 1) + bytes(13),
    "train.rec": b"\x0a\x23\xd7\xce" + bytes(100),
    "clip.mp4": b"\0\0\0\x20ftypisom" + bytes(100),
    "sheet.pdf": b"%PDF-1.4\n",
}
OTHERS = {
    "a.tar": tar(("a.txt", b"x"), ("b.json", b"{}")),
    "a.zip": zipped("a.xml", "b.xml"),
    "a.parquet": table([[1.5] * 8, [2.5] * 8]),
    "hash.parquet": table(["00" * 32, "ab" * 32]),
    "a.json": json.dumps({"imageData": None, "sha256": "0a" * 32, "text": "word " * 99}).encode(),
    "path.txt": b"/datasets/some/folder/with/a/very/long/path/of/an/image/of/a/dataset\n",
    "embedding.txt": base64.b64encode(np.arange(9999, dtype=np.float32).tobytes()),
    "a.npy": array(np.zeros((100, 512), np.float32)),
    "a.npz": arrays(x=np.zeros((68, 2)), y=np.zeros(9, np.uint8)),
    "labels-idx1-ubyte": struct.pack(">II", 2049, 9) + bytes(9),
    "annotations.mat": b"MATLAB 5.0 MAT-file" + bytes(200),
    "empty": b"",
    "a.bin": bytes(1000),
}


@pytest.mark.parametrize("name", IMAGES)
def test_files_that_contain_images_are_not_copied_unread(name: str) -> None:
    reason = find_unread(name, io.BytesIO(IMAGES[name]))
    assert reason is not None
    assert reason.startswith(("it contains images", "it may contain images"))


@pytest.mark.parametrize("name", OTHERS)
def test_files_without_images_are(name: str) -> None:
    assert find_unread(name, io.BytesIO(OTHERS[name])) is None
    assert find_contained(name, io.BytesIO(OTHERS[name])) is None


def test_records_of_tensorflow_are_known_by_the_checksum_of_their_length() -> None:
    data = struct.pack("<QI", 30, 0x3212DCD9) + bytes(34)
    found = find_contained("train-00000-of-00010", io.BytesIO(data))
    assert found is not None
    assert "TFRecord" in found.what
    damaged = struct.pack("<QI", 31, 0x3212DCD9) + bytes(35)
    assert find_contained("train-00000-of-00010", io.BytesIO(damaged)) is None


@pytest.mark.parametrize("name", [n for n in IMAGES if n not in ("late.jsonl", "sheet.pdf")])
def test_a_dataset_without_other_images_is_refused_with_the_remedy(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(IMAGES[name])
    if name in ("a.tar", "hub.parquet"):
        return  # a dataset
    with pytest.raises(DataError, match=rf"{name}.*(unpack|convert|save|decompress)"):
        list(open_source(str(tmp_path)).check())


@pytest.mark.parametrize("name", [n for n in IMAGES if n not in ("a.tar", "hub.parquet")])
def test_beside_images_it_is_a_file_that_is_left_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(jpeg(3))
    (tmp_path / name).write_bytes(IMAGES[name])
    assert recognize(LocalFolder(tmp_path))[0] == "imagefolder"
    notes = list(open_source(str(tmp_path)).check())
    is_text = name.endswith((".json", ".jsonl", ".html", ".csv", ".tsv", ".txt"))
    assert len(notes) == (not is_text and name != "sheet.pdf")


@pytest.mark.parametrize("place", ["", "train/"])
def test_a_tar_file_of_tar_files_beside_others_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "val.tar").write_bytes(IMAGES["a.tar"])
    (tmp_path / place / "train.tar").write_bytes(IMAGES["img_train.tar"])
    with pytest.raises(DataError, match=r"train\.tar' in SOURCE contains archives.*extract it"):
        list(open_source(str(tmp_path)).check())


def test_a_compressed_tar_file_of_texts_beside_tar_files_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "val.tar").write_bytes(IMAGES["a.tar"])
    (tmp_path / "devkit.tar.gz").write_bytes(gzip.compress(OTHERS["a.tar"]))
    source = open_source(str(tmp_path))
    assert [record.id for record in source.records()] == ["val.tar/a.jpg"]
    assert list(source.check()) == []
    (tmp_path / "train.tar.gz").write_bytes(IMAGES["a.tar.gz"])
    with pytest.raises(DataError, match="is compressed"):
        list(open_source(str(tmp_path)).check())
