"""The shard job: read, detect, obfuscate and write a few hundred images; same on every executor."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from curate import codec
from curate.codec import Picture, digest_pixels
from curate.core.entries import ManifestEntry, Outcome, Route, Transform
from curate.core.errors import SetupError, WithheldError
from curate.core.faces import Face
from curate.core.protocols import Detector, Source
from curate.core.records import ImageRecord
from curate.core.stages import stage as timed
from curate.core.stages import take_times
from curate.engine.local import Report
from curate.engine.shards import Shard, Stage
from curate.layouts import open_source
from curate.manifest.store import DATA as DATA
from curate.manifest.store import Tally, digest_bytes, load_json, save_json, save_part
from curate.pipeline.earlier import EarlierOutput, Kept
from curate.pipeline.image import Obfuscated, Tools, detect, hide, listed_as_withheld
from curate.pipeline.tools import open_tools
from curate.pipeline.withhold import to_withheld
from curate.recipe import Recipe, format_json
from curate.storage.atomic import create_bytes

PART = "part.parquet"
TALLY = "tally.json"
MODELS = "models.json"
_BATCH_ON_CUDA = 32
_BATCH_PIXELS = 32 << 20  # decoded at a time


@dataclass(frozen=True, slots=True)
class DetectedImage:
    """An image with its faces, or the reason to withhold it.

    Args:
        record: which image.
        sha256: digest of its stored bytes, if they could be read.
        size: number of stored bytes.
        picture: its pixels, if they could be decoded.
        faces: its faces, a list per frame, if detection ran to completion.
        trouble: why it is withheld; None if and only if detection ran to completion.
        kept: its result in the output that is updated, if it is unchanged; then nothing else
            was done with it.
    """

    record: ImageRecord
    sha256: str | None = None
    size: int | None = None
    picture: Picture | None = None
    faces: Sequence[Sequence[Face]] = ()
    trouble: WithheldError | None = None
    kept: Kept | None = None


def detect_images(
    records: Sequence[ImageRecord],
    shard: Shard,
    source: Source,
    tools: Tools,
    earlier: EarlierOutput | None = None,
) -> Iterator[DetectedImage]:
    """Read a few images and find their faces; yields one result each, in order.

    Images that are unchanged in the earlier output are neither decoded nor detected.
    """
    for reads in _read_batches(records, shard, source, tools, earlier):
        faces = _detect({r.record.id: r.picture for r in reads if r.picture is not None}, tools)
        while reads:  # the caller alone holds the pixels of what it was given
            yield _add_faces(reads.pop(0), faces)


def _add_faces(read: DetectedImage, faces: dict[str, Any]) -> DetectedImage:
    """An image with its faces of the batch, or the reason to withhold it."""
    found = faces.get(read.record.id)
    if read.trouble is not None or read.picture is None:
        return read
    if found is None:
        return replace(read, trouble=WithheldError("detector", "it gave no result"))
    if isinstance(found, WithheldError):
        return replace(read, trouble=found)
    return replace(read, faces=found)


def _read_batches(
    records: Sequence[ImageRecord],
    shard: Shard,
    source: Source,
    tools: Tools,
    earlier: EarlierOutput | None,
) -> Iterator[list[DetectedImage]]:
    """Read images, in batches whose pixels fit in memory."""
    reads: list[DetectedImage] = []
    pixels = 0
    for record in records:
        reads.append(_read(record, shard.withhold.get(record.id), source, tools, earlier))
        pixels += _count_pixels(reads[-1])
        if pixels >= _BATCH_PIXELS:
            yield reads
            reads, pixels = [], 0
    if reads:
        yield reads


def _count_pixels(read: DetectedImage) -> int:
    frames = read.picture.frames if read.picture is not None else ()
    return sum(frame.shape[0] * frame.shape[1] for frame in frames)


def iter_batches(shard: Shard, device: str) -> Iterator[tuple[int, Sequence[ImageRecord]]]:
    """Yield a shard's records in batches for the device, each with the index of its first."""
    size = _BATCH_ON_CUDA if device == "cuda" and not shard.one_by_one else 1
    for start in range(0, len(shard.records), size):
        yield start, shard.records[start : start + size]


def _read(
    record: ImageRecord,
    barred: str | None,
    source: Source,
    tools: Tools,
    earlier: EarlierOutput | None,
) -> DetectedImage:
    if barred is not None:
        code, _, detail = barred.partition(": ")
        return DetectedImage(record, trouble=WithheldError(code, detail))
    try:
        data = source.read(record)
    except Exception as error:
        return DetectedImage(record, trouble=to_withheld(error, record.id))
    with timed("hash"):
        digest, size = digest_bytes(data), len(data)
    if earlier is not None and tools.given is not None:
        read = DetectedImage(record, digest, size)
        kept = earlier.find(_identify(read), data, tools.given)
        if kept is not None:
            return replace(read, kept=kept)
    try:
        _check_given(record, digest, tools)
        with timed("decode"):
            picture = codec.load(data, tools.options)
        return DetectedImage(record, digest, size, picture)
    except Exception as error:
        return DetectedImage(record, digest, size, trouble=to_withheld(error, record.id))


def _check_given(record: ImageRecord, digest: str, tools: Tools) -> None:
    """Withhold an image whose given faces are of other bytes, or that the file withholds."""
    given = tools.given.find(record.id) if tools.given is not None else None
    if given is None:
        return
    if given.withheld is not None and given.source_sha256 in (None, digest):
        raise listed_as_withheld(given.withheld)
    if given.source_sha256 not in (None, digest):
        raise WithheldError("other-file", "its faces were found in another file of this name")


def _detect(pictures: dict[str, Picture], tools: Tools) -> dict[str, Any]:
    """Return faces per frame by record id, or the reason to withhold the image.

    A batch that fails is repeated image by image, so that only the image that cannot be
    processed is withheld, and a GPU without memory for a batch ends the run only if it
    has none for a single image.
    """
    if not pictures:
        return {}
    try:
        return dict(detect(pictures, tools))
    except Exception as error:
        if len(pictures) == 1:
            [name] = pictures
            return {name: to_withheld(error, name, "detector", "it did not finish")}
    return {
        name: found
        for one in pictures.items()
        for name, found in _detect(dict([one]), tools).items()
    }


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Everything a worker process needs to obfuscate shards; small, and picklable.

    Args:
        uri: path or URI of the dataset.
        layout: its layout.
        work: the work folder inside OUT.
        recipe: what to do.
        faces: index of given faces in the work folder, or None.
        weights: a weights file of the user, or None.
        updated: the finished output that is updated, or None.
        follow_links: whether symbolic links that point outside the dataset are followed.
    """

    uri: str
    layout: str
    work: Path
    recipe: Recipe
    faces: Path | None = None
    weights: Path | None = None
    updated: Path | None = None
    follow_links: bool = False

    def open(self) -> Callable[[Shard, Report], ShardResult]:
        """Load the models and return the shard function."""
        tools = open_tools(self.recipe, self.faces, self.weights)
        source = open_source(self.uri, self.layout, follow_links=self.follow_links)
        note_models(tools.detector, self.work)
        earlier = EarlierOutput(self.updated) if self.updated is not None else None

        def work(shard: Shard, report: Report) -> ShardResult:
            entries: list[ManifestEntry] = []
            tally = Tally()
            if earlier is not None:
                earlier.load(shard.records)
            with Stage(self.work / "staging", self.work / "shards", shard.name) as stage:
                for start, records in iter_batches(shard, self.recipe.device):
                    report(start, (tally.images, tally.faces))
                    for entry, data in process_images(records, shard, source, tools, earlier):
                        if data is not None:
                            with timed("write"):
                                stage.write(f"{DATA}/{entry.output_path}", data)
                        entries.append(entry)
                        tally.add(entry)
                with timed("write"):
                    save_part(entries, stage.path(PART))
                    save_json(tally.to_dict(), stage.path(TALLY))
                    stage.commit()
            return ShardResult(tally.to_dict(), take_times())

        return work


def note_models(detector: Detector | None, work: Path) -> None:
    """Note the models of a run in its work folder, before a process does its first shard.

    Raises:
        SetupError: if another process of the run, as on another machine, has other models.
    """
    if detector is None:
        return
    mine = format_json([asdict(model) for model in detector.models()])
    path = work / MODELS
    if create_bytes(path, mine.encode()):
        return
    theirs = load_json(path)
    if format_json(theirs) == mine:
        return
    raise SetupError(
        f"the models of {socket.gethostname()} differ from those of the run in {work.parent}: "
        f"{_describe_models(json.loads(mine))}, not {_describe_models(theirs)}; install the same "
        "packages and weights on every machine"
    )


def _describe_models(models: Any) -> str:
    texts = []
    try:
        for model in models:
            digests = ", ".join(digest[:12] for digest in model["weights_sha256"].values())
            texts.append(f"{model['name']} {model['version']} ({digests or model['backend']})")
    except (TypeError, KeyError, AttributeError):
        return "of a damaged list"
    return "; ".join(texts)[:_MAX_SHOWN] or "none"


_MAX_SHOWN = 500  # characters


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What the parent process learns of a committed shard.

    Args:
        tally: its counts.
        times: CPU seconds by stage.
    """

    tally: dict[str, Any]
    times: dict[str, float] = field(default_factory=dict)


def process_images(
    records: Sequence[ImageRecord],
    shard: Shard,
    source: Source,
    tools: Tools,
    earlier: EarlierOutput | None = None,
) -> Iterator[tuple[ManifestEntry, bytes | None]]:
    """Obfuscate a few images; yields for each its manifest entry and, if written, its bytes."""
    for image in detect_images(records, shard, source, tools, earlier):
        if image.kept is not None:
            yield image.kept
            continue
        picture = image.picture
        if image.trouble is not None or picture is None:
            trouble = image.trouble or WithheldError("internal", "no picture")
            yield _withheld(image, trouble), None
            continue
        try:
            output = hide(picture, image.faces, tools)
            picture = replace(picture, frames=(), stored=None, layer=None)
            image = replace(image, picture=picture)  # pixels go before the output is decoded
            with timed("hash"):
                entry = _written(image, picture, output, tools)
        except Exception as error:  # whatever it is, the image must not pass
            yield _withheld(image, to_withheld(error, image.record.id)), None
        else:
            yield entry, output.data


def _withheld(image: DetectedImage, trouble: WithheldError) -> ManifestEntry:
    picture = image.picture
    return ManifestEntry(
        **_identify(image),
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        mode=picture.mode if picture else None,
        orientation=picture.orientation if picture else None,
        outcome=Outcome.WITHHELD,
        reason=str(trouble),
    )


def _written(
    image: DetectedImage, picture: Picture, output: Obfuscated, tools: Tools
) -> ManifestEntry:
    return ManifestEntry(
        **_identify(image),
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        orientation=picture.orientation,
        outcome=Outcome.WRITTEN,
        route=output.route,
        faces=output.faces,
        hidden=tuple(region.hidden for region in output.regions),
        transforms=(*_transforms(output, tools), *_describe_review(image.record.id, tools)),
        blurred_share=output.blurred_share,
        output_path=image.record.id,
        output_sha256=digest_bytes(output.data),
        output_bytes=len(output.data),
        pixels_sha256=_digest_output(output, tools),
    )


def _digest_output(output: Obfuscated, tools: Tools) -> str | None:
    """Digest of an output's pixels; one that cannot be decoded again raises, and is withheld."""
    if output.route is Route.COPIED:
        return None
    return digest_pixels(codec.load(output.data, tools.options))


def _identify(image: DetectedImage) -> dict[str, Any]:
    record = image.record
    return {
        "id": record.id,
        "split": record.split,
        "category": record.category,
        "source_path": record.id,
        "source_sha256": image.sha256,
        "source_bytes": image.size,
    }


def _transforms(output: Obfuscated, tools: Tools) -> Iterable[Transform]:
    kept = ",".join(("icc", "orientation", *sorted(tools.options.keep_metadata)))
    yield Transform("strip_metadata", "1", {"keeps": kept})
    if output.regions:
        yield Transform(
            tools.obfuscator.name,
            tools.obfuscator.version,
            {**tools.obfuscator.parameters, "margin": tools.margin},
        )
    if output.note:
        yield Transform("encode", "1", {"note": output.note})


def _describe_review(record_id: str, tools: Tools) -> Iterable[Transform]:
    """Yield the review state of the given faces, where the file of faces states one."""
    given = tools.given.find(record_id) if tools.given is not None else None
    if given is not None and given.review is not None:
        yield Transform("review", "1", {"state": given.review})
