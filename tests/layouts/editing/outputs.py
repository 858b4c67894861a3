"""A dataset with its edits made, as the pipeline makes it, for the editing tests."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from curate import codec
from curate.core.affine import Affine, identity
from curate.core.protocols import Source, iter_containers
from curate.core.records import ImageRecord
from curate.layouts import open_source
from curate.layouts.editing import GeneratedImage, Outcome, name_copy, open_editor, rebuild_edited
from tests.layouts.examples.example import write


@dataclass
class Plan:
    """Edits that are held in memory."""

    removed: frozenset[str] = frozenset()
    made: Mapping[str, Sequence[GeneratedImage]] = field(default_factory=dict)

    def is_kept(self, record_id: str) -> bool:
        return record_id not in self.removed

    def generated_from(self, record_id: str) -> Sequence[GeneratedImage]:
        return self.made.get(record_id, ())


@dataclass
class Output:
    """What came out."""

    notes: dict[str, str] = field(default_factory=dict)
    results: dict[str, Outcome] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    placed: dict[str, str] = field(default_factory=dict)


def mirror(width: int, height: int) -> Affine:
    return Affine(((-1.0, 0.0, float(width)), (0.0, 1.0, 0.0)), width, height)


def make(
    source: Source, record_id: str, affines: Sequence[Affine | None]
) -> tuple[list[GeneratedImage], dict[str, bytes]]:
    """Images made from one by each map, repetitions for None; their bytes are right, too."""
    record = source.find(record_id)
    assert record is not None
    data = source.read(record)
    picture = codec.load(data)
    image = codec.upright_rgb(picture)
    height, width = image.shape[:2]
    made: list[GeneratedImage] = []
    files: dict[str, bytes] = {}
    for number, affine in enumerate(affines, start=1):
        suffix = codec.suffix_of_rgb(picture.format)
        name = name_copy(source, record, number, suffix)
        if affine is None:
            made.append(GeneratedImage(name, identity(width, height), width, height))
            files[name] = data
            continue
        made.append(GeneratedImage(name, affine, width, height, picture.orientation))
        channels = [affine.mask(image[..., channel]) for channel in range(3)]
        files[name] = codec.encode_rgb(np.stack(channels, axis=2), picture.format)
    return made, files


def edit(
    root: Path,
    out: Path,
    plan: Plan,
    files: Mapping[str, bytes] | None = None,
    layout: str = "auto",
) -> Output:
    """Write the edited dataset."""
    source = open_source(str(root), layout)
    files, done = files or {}, Output()

    def image_bytes(record_id: str) -> bytes | None:
        record = source.find(record_id)
        return files[record_id] if record is None else source.read(record)

    containers = list(iter_containers(source))
    for record in source.records() if not containers else ():
        if plan.is_kept(record.id):
            write(out, record.id, source.read(record))
        for made in plan.generated_from(record.id):
            write(out, made.id, files[made.id])
    editor = open_editor(source, plan)
    for other in source.sidecars():
        if not other.copied:
            continue
        target = io.BytesIO()
        result = editor.edit(other, target)
        done.results[str(other.path)] = result.outcome
        if result.note:
            done.notes[str(other.path)] = result.note
        if result.outcome is Outcome.EDITED:
            write(out, str(other.path), target.getvalue())
        elif result.outcome is Outcome.SAME:
            with source.open_sidecar(other) as file:
                write(out, str(other.path), file.read())
    for new in editor.iter_new():
        assert not (out / new.path).exists(), new.path
        write(out, new.path, new.data)
        done.new.append(new.path)
    for container in containers:
        target = io.BytesIO()
        note = done.placed.__setitem__
        list(rebuild_edited(source, container, plan, image_bytes, target, note))
        write(out, container, target.getvalue())
    return done


def plan_for(
    root: Path, maps: Mapping[str, Sequence[Affine | None]], layout: str = "auto"
) -> tuple[Plan, dict[str, bytes]]:
    """Edits that make images of some, and their bytes."""
    source = open_source(str(root), layout)
    plan, files = {}, {}
    for record_id, affines in maps.items():
        plan[record_id], new = make(source, record_id, affines)
        files |= new
    return Plan(made=plan), files


def record_of(root: Path, number: int = 0) -> ImageRecord:
    return list(open_source(str(root)).records())[number]
