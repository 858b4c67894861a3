"""Small hostile tar and zip files, opened as datasets in a real process."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.process.test_bombs import OPEN, read_all
from tests.process.test_bombs_images import JPEG

END = bytes(1024)
FIRST = "000.jpg"


def header(name: str, size: int, kind: bytes = b"0") -> bytearray:
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:108] = b"0000644\0"
    block[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block[156:157], block[257:265] = kind, b"ustar\x0000"
    return sign(block)


def sign(block: bytearray) -> bytearray:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return block


def member(name: str, data: bytes, kind: bytes = b"0") -> bytes:
    return bytes(header(name, len(data), kind)) + data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    size += len(str(size + len(str(size))))
    return b"%d %s=%s\n" % (size, key, value)


def records(count: int) -> bytes:
    return b"".join(record(b"k%d" % number, b"v") for number in range(count))


def tar(*parts: bytes) -> bytes:
    return b"".join([member(FIRST, JPEG), *parts, member("x.jpg", JPEG), END])


def sparse_member(name: str, size: int, kind: bytes = b"0") -> Callable[[Path], None]:
    """A member of any size that takes no space on the disk."""

    def save(path: Path) -> None:
        path.write_bytes(member(FIRST, JPEG) + header(name, size, kind))
        os.truncate(path, path.stat().st_size + size + -size % 512 + len(END))

    return save


def holes() -> bytes:
    """A file with a map of a million holes, in the form of POSIX."""
    count = 1_000_000
    body = b"%d\n" % count + b"0\n" * 2 * count
    keys = {b"major": b"1", b"minor": b"0", b"name": b"y.jpg", b"realsize": b"9" * 11}
    head = b"".join(record(b"GNU.sparse." + key, value) for key, value in keys.items())
    return member("p", head, b"x") + member("y.jpg", body + bytes(-len(body) % 512))


def old_holes() -> bytes:
    """The same in the form of GNU, in a chain of 50,000 blocks."""
    block = header("y.jpg", 512, b"S")
    block[482], block[483:495] = 1, b"77777777777\0"
    more = bytearray(512)
    more[504] = 1
    return bytes(sign(block)) + bytes(more) * 50_000 + bytes(1024)


TARS: dict[str, bytes | Callable[[Path], object]] = {
    "long_name": sparse_member("././@LongLink", 1 << 30, b"L"),
    "longer_name": sparse_member("././@LongLink", 20 << 30, b"L"),
    "long_link": sparse_member("././@LongLink", 1 << 30, b"K"),
    "long_header": sparse_member("p", 1 << 30, b"x"),
    "records": tar(member("p", records(500_000), b"x")),
    "shared_records": tar(member("p", records(500_000), b"g")),
    "some_records": tar(
        *[member("p", b"".join(record(b"%d-%d" % (a, b), b"") for b in range(99)), b"g")
          + member(f"{a}.txt", b"") for a in range(100)]
    ),
    "digits": tar(member("p", b"1" * 200_000, b"x")),
    "headers": tar(member("p", record(b"k", b"v"), b"x") * 20_000),
    "shared_headers": tar(member("p", record(b"k", b"v"), b"g") * 20_000),
    "names": tar(member("././@LongLink", b"a.jpg\0", b"L") * 20_000),
    "holes": tar(holes()),
    "old_holes": tar(old_holes()),
    "empty": tar(*[bytes(header(f"{number}.txt", 0)) for number in range(20_000)]),
    "image": sparse_member("a.jpg", 20 << 30),
    "json": sparse_member("000.json", 20 << 30),
    "claim": tar(bytes(header("a.jpg", 1 << 60))),
    "beyond": tar(bytes(header("a.jpg", 1 << 40))),
}  # fmt: skip
READ = {"holes", "old_holes", "empty", "image", "json"}
"""Of which what is hostile is not read, or withheld later."""


def zip_end(entries: int, size: int, offset: int) -> bytes:
    return struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, entries, entries, size, offset, 0)


ENTRY = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 9, 5, *[0] * 6) + b"a.txt"
PACKED = tar(bytes(header("0.bin", 1 << 28)) + bytes(1 << 28))
ARCHIVES: dict[str, bytes] = {
    "members.zip": b"PK\3\4" + ENTRY * 1_000_000 + zip_end(65_535, len(ENTRY) * 1_000_000, 4),
    "claim.zip": b"PK\3\4" + bytes(99) + zip_end(65_535, 2**32 - 1, 2**32 - 16),
    "circle.zip": b"PK\3\4" + ENTRY + zip_end(65_535, 2**32 - 1, 4),
    "zeros.tar.gz": gzip.compress(PACKED, 9),
    "zeros.tar.bz2": bz2.compress(PACKED, 9),
    "zeros.tar.xz": lzma.compress(PACKED, preset=0),
}


def test_archives_are_opened_in_bounded_memory(tmp_path: Path) -> None:
    for name, save in TARS.items():
        folder = tmp_path / name
        folder.mkdir()
        path = folder / "a.tar"
        save(path) if callable(save) else path.write_bytes(save)
    for name, data in ARCHIVES.items():
        (tmp_path / name.replace(".", "_")).mkdir()
        (tmp_path / name.replace(".", "_") / name).write_bytes(data)
    found = read_all(OPEN, tmp_path)
    assert found.keys() == {*TARS, *(name.replace(".", "_") for name in ARCHIVES)}
    assert {name for name in TARS if found[name] == {"read"}} == READ
