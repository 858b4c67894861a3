"""The checks of a published dataset that anyone can make, from its public manifest alone."""

from __future__ import annotations

import fnmatch
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate import codec
from curate.codec import CodecOptions
from curate.core.errors import DataError, WithheldError
from curate.manifest import store
from curate.manifest.files import Problem
from curate.pipeline.session import Step
from curate.publishing.card.citations import find_cited, iter_rows, parse_evidence
from curate.publishing.card.figures import find_mismatches, resolve
from curate.publishing.card.header import check_header, split_card
from curate.publishing.croissant.validate import validate
from curate.publishing.dataset import digest_public_tier
from curate.publishing.hub.batches import CARD, CARD_FILES, PUBLICATION, REMOTE_ONLY
from curate.publishing.hub.tree import (
    MANIFEST_FILES,
    MAX_TEXT,
    PUBLIC_RECORDS,
    PUBLIC_RUN,
    Tree,
    fetch_bounded,
    fetch_listing,
    load_document,
    load_listing,
    load_text,
)

EDITED = "edited"
"""Kind of the problem that people changed the card; everything else may be as it was published."""
SAMPLE = 50
_MAX_IMAGE = 256 << 20
_MAX_PATTERNS = 1_000
_MAX_EVIDENCE = 20
"""Files of evidence of a card; a card has at most one of each kind of report."""
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp")


def iter_problems(
    tree: Tree, full: bool, watch: Callable[[Step], None] = lambda _: None
) -> Iterator[Problem]:
    """Check a published dataset against its public manifest, streaming what is wrong.

    Args:
        tree: the files.
        full: whether every file is read, rather than a sample; the Hub has digests of the rest.
        watch: called with the progress.

    Raises:
        DataError: if it has no public manifest.
    """
    publication = load_document(tree, PUBLICATION)
    run = load_document(tree, PUBLIC_RUN)
    sizes, listing = tree.sizes(), fetch_listing(tree)
    yield from _check_tree(tree, listing, sizes)
    yield from _check_manifest(tree, publication, run, sizes)
    yield from _check_contents(tree, listing, sizes, full, watch)
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
    tree: Tree, publication: Mapping[str, Any], run: Mapping[str, Any], sizes: Mapping[str, int]
) -> Iterator[Problem]:
    folder = tree.fetch(PUBLIC_RUN).parent
    if PUBLIC_RECORDS in sizes:
        if store.digest_file(tree.fetch(PUBLIC_RECORDS)) != run.get("records_sha256"):
            yield Problem("changed", PUBLIC_RECORDS, "its bytes are not those in run.json")
    elif "records_sha256" in run:
        yield Problem("missing", PUBLIC_RECORDS, "run.json lists it, and it is not there")
    if digest_public_tier(folder) != publication.get("manifest_sha256"):
        yield Problem("changed", PUBLICATION, "manifest_sha256 is not that of the manifest")
    splits, counts = publication.get("splits"), run.get("counts")
    if (
        not isinstance(counts, Mapping)
        or not isinstance(splits, Mapping)
        or not all(type(count) is int for count in splits.values())
    ):
        yield Problem("manifest", PUBLICATION, "has no splits, or run.json no counts")
    elif sum(splits.values()) != counts.get("written"):
        yield Problem("manifest", PUBLICATION, "its splits do not sum to run.json's counts.written")


def _check_contents(
    tree: Tree,
    listing: Path,
    sizes: Mapping[str, int],
    full: bool,
    watch: Callable[[Step], None],
) -> Iterator[Problem]:
    """Read files, compare digests, and look for leaks in images."""
    chosen = None if full else _sample(listing)
    wanted = sizes.keys() if chosen is None else sizes.keys() & chosen
    total = sum(listed.path in wanted for listed in load_listing(listing))
    present = (listed for listed in load_listing(listing) if listed.path in wanted)
    for done, listed in enumerate(present, start=1):
        watch(Step("checking", "files", done, total))
        if sizes[listed.path] != listed.bytes:
            continue  # reported above; a size that is not listed may be of any length
        path = tree.fetch(listed.path)
        if store.digest_file(path) != listed.sha256:
            yield Problem("changed", listed.path, "its bytes are not those in the manifest")
        elif path.suffix.lower() in _IMAGES and not _is_map(listed.path):
            for leak in _find_leaks(path):
                yield Problem("leak", listed.path, leak)


def _is_map(path: str) -> bool:
    return path == "before_after.jpg" or path.startswith("annotations/")


def _find_leaks(path: Path) -> list[str]:
    if path.stat().st_size > _MAX_IMAGE:
        return [f"cannot be checked: it is larger than {_MAX_IMAGE >> 20} MB"]
    try:
        return codec.find_leaks(path.read_bytes(), CodecOptions())
    except WithheldError as error:
        return [f"cannot be checked: {error}"]


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
        text = load_text(tree, CARD)
        published = publication.get("card_sha256")
        if published is None:
            yield Problem(EDITED, CARD, "was published without its digest: its text is not covered")
        elif store.digest_file(tree.fetch(CARD)) != published:
            yield Problem(EDITED, CARD, "was edited after publication: its text is not covered")
        header, body = split_card(text)
        check_header(header)
    except DataError as error:
        yield Problem("card", CARD, str(error))
        return
    documents = {PUBLIC_RUN: run, PUBLICATION: publication}
    yield from _check_evidence(tree, body, documents, sizes)
    yield from _check_croissant(tree, sizes)
    yield from check_features(tree, header, sizes)


def _check_evidence(
    tree: Tree, body: str, documents: dict[str, Any], sizes: Mapping[str, int]
) -> Iterator[Problem]:
    """Whether every figure and governance row of a card leads to a value, which is that shown."""
    absent: set[str] = set()
    for name in find_cited(body).keys() - documents.keys():
        if name not in sizes or len(documents) > _MAX_EVIDENCE:
            absent.add(name)
            yield Problem("missing", name, f"{CARD} cites it, and it is not there")
            continue
        try:
            path = fetch_bounded(tree, name, MAX_TEXT)
            documents[name] = parse_evidence(name, path.read_bytes())
        except DataError as error:
            absent.add(name)
            yield Problem("card", name, str(error).removeprefix(f"{name} "))
    for found in find_mismatches(body, documents):
        if not any(f"{name}#" in found.pointer for name in absent):
            yield Problem("card", CARD, found.describe())
    for pointer in iter_rows(body):
        try:
            if pointer.partition("#")[0] not in absent:
                resolve(documents, pointer)
        except DataError as error:
            yield Problem("card", CARD, f"a governance row cites what is not there: {error}")


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
    listed = {one.path: one.sha256 for one in load_listing(fetch_listing(tree))}
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        declared = datasets.Features._from_yaml_list(info["features"])
    except Exception as error:  # whatever the library makes of what it does not know
        yield Problem("card", CARD, f"its features cannot be read: {error}")
        return
    for shard in shards:
        path = tree.fetch(shard)
        try:
            found = datasets.Features.from_arrow_schema(pq.read_schema(path))
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError):
            yield Problem("card", shard, "is not a Parquet file that datasets reads")
            continue
        for name in dict.fromkeys([*declared, *found]):
            if not _is_same_feature(declared.get(name), found.get(name)):
                yield Problem("card", CARD, f"its feature {name!r} is not that of {shard}")


def _is_same_feature(declared: Any, found: Any) -> bool:
    """Equal, or an image that a Parquet file without features of its own shows as a struct."""
    import datasets

    struct = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    return bool(declared == found or (declared == datasets.Image() and found == struct))


def _first_shards(header: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """The first Parquet file of rows of each split, by the YAML's own patterns."""
    configs = header.get("configs")
    files = configs[0].get("data_files") if isinstance(configs, list) and configs else None
    shards = []
    for item in files if isinstance(files, list) else ():
        paths = item.get("path", ())
        patterns = [paths] if isinstance(paths, str) else list(paths)[:_MAX_PATTERNS]
        rows = [pattern for pattern in patterns if "/metadata." not in str(pattern)]
        found = (p for p in sorted(sizes) if any(_matches(p, pattern) for pattern in rows))
        first = next(found, None)
        if first is not None and first.endswith(".parquet"):
            shards.append(first)
    return shards


def _matches(path: str, pattern: str) -> bool:
    """Whether a path fits a pattern of ``data_files``: ``*`` in a name, one ``**`` for folders."""
    names = path.split("/")
    before, deep, after = f"/{pattern}".partition("/**/")
    start = before.split("/")[1:]
    end = after.split("/") if deep else []
    if len(names) < len(start) + len(end) or (not deep and len(names) != len(start)):
        return False
    ends = names[: len(start)] + names[len(names) - len(end) :]
    return all(map(fnmatch.fnmatchcase, ends, start + end))
