"""A published dataset, remote or pulled: what it must hold, and the checks that anyone can make."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from curate import codec
from curate.codec import CodecOptions
from curate.core.errors import DataError, WithheldError
from curate.manifest.files import Problem, stays_inside
from curate.publishing.card.figures import find_mismatches
from curate.publishing.card.header import check_header, split_card
from curate.publishing.croissant.validate import validate
from curate.publishing.dataset import digest_public_tier
from curate.publishing.hub.batches import CARD, CARD_FILES, PUBLICATION, REMOTE_ONLY
from curate.publishing.hub.remote import Remote

FILES = "manifest/files.jsonl"
PUBLIC_RUN, PUBLIC_RECORDS = "manifest/run.json", "manifest/records.parquet"
MANIFEST_FILES = frozenset({FILES, PUBLICATION, PUBLIC_RUN, PUBLIC_RECORDS})
SAMPLE = 50
_LARGEST = 256 << 20
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as ``manifest/files.jsonl`` lists it.

    Args:
        path: in the repository.
        sha256: digest of its content.
        bytes: its size.
    """

    path: str
    sha256: str
    bytes: int


class Tree(Protocol):
    """The files of a published dataset."""

    name: str
    """What messages call it."""

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file, by path."""
        ...

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file where it is known without reading it, or None."""
        ...

    def fetch(self, path: str) -> Path:
        """A file on this machine."""
        ...


class LocalTree:
    """A published dataset in a folder, as ``curate pull`` makes it."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every regular file, by path; links are an error."""
        found = {}
        for path in sorted(self._folder.rglob("*")):
            if path.is_symlink():
                raise DataError(f"{path} is a link; a published dataset holds regular files only")
            if path.is_file():
                found[path.relative_to(self._folder).as_posix()] = path.stat().st_size
        return found

    def digest(self, path: str) -> str | None:
        """Never known without reading."""
        return None

    def fetch(self, path: str) -> Path:
        """The file itself."""
        return self._folder / path


class RemoteTree:
    """A published dataset on the Hub.

    Args:
        remote: the repository.
        revision: the commit to read.
        folder: where files are downloaded to.
    """

    def __init__(self, remote: Remote, revision: str, folder: Path) -> None:
        self.name = f"hf:{remote.repo_id}"
        self._remote, self._revision, self._folder = remote, revision, folder
        self._tree = remote.tree(revision)

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file, by path."""
        return {path: file.bytes for path, file in self._tree.items() if path not in REMOTE_ONLY}

    def digest(self, path: str) -> str | None:
        """Metadata of files that the Hub stores as LFS."""
        return self._tree[path].sha256 if path in self._tree else None

    def fetch(self, path: str) -> Path:
        """Download a file."""
        return Path(self._remote.download(path, self._revision, str(self._folder)))


def load_listing(path: Path) -> Iterator[Listed]:
    """The lines of ``manifest/files.jsonl``, streaming, each path checked.

    Raises:
        DataError: if a line is not as it should be.
    """
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                value = json.loads(line)
                listed = Listed(value["path"], value["sha256"], value["bytes"])
                if not stays_inside(listed.path) or not isinstance(listed.bytes, int):
                    raise ValueError(f"path {listed.path!r}")
                yield listed
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{FILES}, line {number}, cannot be read: {error}") from None


def is_published(folder: Path) -> bool:
    """Whether a folder holds a published dataset rather than the OUT of a run."""
    return (folder / FILES).is_file() and (folder / PUBLICATION).is_file()


def load_document(tree: Tree, path: str) -> Any:
    """A JSON file of a published dataset.

    Raises:
        DataError: if it is absent or damaged.
    """
    sizes = tree.sizes()
    if path not in sizes:
        raise DataError(
            f"{tree.name} has no {path}; was it published by `curate push`, and completely?"
        )
    if sizes[path] > _LARGEST:
        raise DataError(f"{tree.name}: {path} is larger than {_LARGEST >> 20} MiB")
    try:
        return json.loads(tree.fetch(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DataError(f"{tree.name}: {path} is not valid JSON") from None


def iter_problems(tree: Tree, full: bool) -> Iterator[Problem]:
    """Check a published dataset against its public manifest, streaming what is wrong.

    Args:
        tree: the files.
        full: whether every file is read, rather than a sample; the Hub has digests of the rest.

    Raises:
        DataError: if it has no public manifest.
    """
    publication = load_document(tree, PUBLICATION)
    run = load_document(tree, PUBLIC_RUN)
    sizes = tree.sizes()
    if FILES not in sizes:
        raise DataError(f"{tree.name} has no {FILES}")
    listing = tree.fetch(FILES)
    yield from _check_tree(tree, listing, sizes)
    yield from _check_manifest(tree, publication, run, sizes)
    yield from _check_contents(tree, listing, sizes, full)
    yield from _check_card(tree, publication, run, sizes)


def _check_tree(tree: Tree, listing: Path, sizes: Mapping[str, int]) -> Iterator[Problem]:
    known = set(CARD_FILES | MANIFEST_FILES)
    for listed in load_listing(listing):
        known.add(listed.path)
        if listed.path not in sizes:
            yield Problem("missing", listed.path, "the manifest lists it, and it is not there")
            continue
        digest = tree.digest(listed.path)
        if sizes[listed.path] != listed.bytes or digest not in (None, listed.sha256):
            yield Problem("changed", listed.path, "its bytes are not those in the manifest")
    for path in sizes:
        if path not in known and path not in REMOTE_ONLY:
            yield Problem("extra", path, "the manifest does not list it")


def _check_manifest(
    tree: Tree, publication: Any, run: Any, sizes: Mapping[str, int]
) -> Iterator[Problem]:
    tree.fetch(PUBLIC_RUN)
    folder = tree.fetch(PUBLIC_RUN).parent
    if PUBLIC_RECORDS in sizes:
        path = tree.fetch(PUBLIC_RECORDS)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != run.get("records_sha256"):
            yield Problem("changed", PUBLIC_RECORDS, "its bytes are not those in run.json")
    elif "records_sha256" in run:
        yield Problem("missing", PUBLIC_RECORDS, "run.json lists it, and it is not there")
    if digest_public_tier(folder) != publication.get("manifest_sha256"):
        yield Problem("changed", PUBLICATION, "manifest_sha256 is not that of the manifest")
    images = sum(publication.get("splits", {}).values())
    if images != run.get("counts", {}).get("written"):
        yield Problem("manifest", PUBLICATION, "its splits do not sum to run.json's counts.written")


def _check_contents(
    tree: Tree, listing: Path, sizes: Mapping[str, int], full: bool
) -> Iterator[Problem]:
    """Read files, compare digests, and look for leaks in images."""
    chosen = None if full else _sample(listing)
    for listed in load_listing(listing):
        if listed.path not in sizes or (chosen is not None and listed.path not in chosen):
            continue
        path = tree.fetch(listed.path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != listed.sha256:
            yield Problem("changed", listed.path, "its bytes are not those in the manifest")
        elif path.suffix.lower() in _IMAGES and not _is_map(listed.path):
            for leak in _find_leaks(path):
                yield Problem("leak", listed.path, leak)


def _is_map(path: str) -> bool:
    return path == "before_after.jpg" or path.startswith("annotations/")


def _find_leaks(path: Path) -> list[str]:
    try:
        return codec.find_leaks(path.read_bytes(), CodecOptions())
    except WithheldError as error:
        return [f"cannot be looked over: {error}"]


def _sample(listing: Path) -> set[str]:
    """The same files for the same listing: the first of each kind, and others at random."""
    paths = [listed.path for listed in load_listing(listing)]
    draw = random.Random(hashlib.sha256("\n".join(paths).encode()).digest())  # noqa: S311 - no secret
    first = {path.rpartition(".")[2]: path for path in reversed(paths)}
    return {*first.values(), *draw.sample(paths, min(SAMPLE, len(paths)))}


def _check_card(
    tree: Tree, publication: Any, run: Any, sizes: Mapping[str, int]
) -> Iterator[Problem]:
    if CARD not in sizes:
        yield Problem("missing", CARD, "there is no dataset card")
        return
    try:
        header, body = split_card(tree.fetch(CARD).read_text(encoding="utf-8"))
        check_header(header)
    except (DataError, UnicodeDecodeError) as error:
        yield Problem("card", CARD, str(error))
        return
    documents = {PUBLIC_RUN: run, PUBLICATION: publication}
    for found in find_mismatches(body, documents):
        if found.pointer.partition("#")[0] in documents:
            yield Problem(
                "card", CARD, f"{found.pointer} is {found.found}, and the card says {found.shown}"
            )
    yield from _check_croissant(tree, sizes)
    yield from check_features(tree, header, sizes)


def _check_croissant(tree: Tree, sizes: Mapping[str, int]) -> Iterator[Problem]:
    if "croissant.json" not in sizes:
        yield Problem("missing", "croissant.json", "there is no Croissant file")
        return
    try:
        croissant = load_document(tree, "croissant.json")
        validate(croissant)
    except DataError as error:
        yield Problem("card", "croissant.json", str(error))
        return
    listed = {one.path: one.sha256 for one in load_listing(tree.fetch(FILES))}
    for item in croissant.get("distribution", []):
        path = item.get("contentUrl")
        if path is not None and listed.get(path) != item.get("sha256"):
            yield Problem("card", "croissant.json", f"{path} has another sha256 in the manifest")


def check_features(
    tree: Tree, header: Mapping[str, Any], sizes: Mapping[str, int]
) -> Iterator[Problem]:
    """Whether the YAML's features are those of the Parquet files: stale ones break the viewer."""
    info, shards = header.get("dataset_info"), _first_shards(header, sizes)
    if not shards or not isinstance(info, dict):
        return
    import datasets
    import pyarrow.parquet as pq

    try:
        declared = datasets.Features._from_yaml_list(json.loads(json.dumps(info["features"])))
    except (KeyError, TypeError, ValueError) as error:
        yield Problem("card", CARD, f"its features cannot be read: {error}")
        return
    for shard in shards:
        found = datasets.Features.from_arrow_schema(pq.read_schema(tree.fetch(shard)))
        for name in dict.fromkeys([*declared, *found]):
            if not _is_same_feature(declared.get(name), found.get(name)):
                yield Problem("card", CARD, f"its feature {name!r} is not that of {shard}")


def _is_same_feature(declared: Any, found: Any) -> bool:
    """Equal, or an image that a Parquet file without features of its own shows as a struct."""
    import datasets

    struct = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    return bool(declared == found or (declared == datasets.Image() and found == struct))


def _first_shards(header: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """The first Parquet file of each split, by the YAML's own patterns."""
    configs = header.get("configs")
    files = configs[0].get("data_files") if isinstance(configs, list) and configs else None
    shards = []
    for item in files if isinstance(files, list) else ():
        paths = item.get("path", ())
        globs = [_glob(path) for path in ([paths] if isinstance(paths, str) else paths)]
        found = (p for p in sorted(sizes) if any(glob.fullmatch(p) for glob in globs))
        first = next(found, None)
        if first is not None and first.endswith(".parquet"):
            shards.append(first)
    return shards


def _glob(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(escaped)


def copy_tree_file(tree: Tree, listed: Listed, target: Path) -> None:
    """Copy one file of a published dataset, if its bytes are those in the manifest.

    Raises:
        DataError: if they are not.
    """
    source = tree.fetch(listed.path)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != listed.sha256:
        raise DataError(
            f"{listed.path} was downloaded with other bytes than the manifest lists; run again, "
            "and if that does not help, the repository was changed"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
