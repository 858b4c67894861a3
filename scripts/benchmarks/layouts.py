"""The section on layouts: the same photos in each, and memory over large shards."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import environments, photos
from benchmarks.plan import Plan
from benchmarks.processes import BenchError, Usage, measure
from benchmarks.tables import Report, format_spread

_METHOD = """\
`curate blur --profile fast` with two workers over the same {count} photos of ImageNet in every \
layout, whole commands in fresh processes, in turning order, medians over {rounds}; the ratio is \
to the plain folder in the same round. Memory: the largest worker and the command's own process, \
on {small} and on {large} small JPEGs in one tar, and in one Parquet file."""

Photos = Sequence[tuple[str, bytes]]


def layouts(plan: Plan) -> Report:
    """Throughput in each layout against the plain folder, and memory over large shards."""
    chosen = photos.find(plan.data, "imagenet", "animals")
    chosen = photos.thin(chosen, 12) if plan.quick else chosen
    small, large = (50, 200) if plan.quick else (2_000, 20_000)
    report = Report(
        "Every layout",
        _METHOD.format(
            count=len(chosen), rounds=f"{plan.repeats} rounds", small=f"{small:,}",
            large=f"{large:,}",
        ),
    )  # fmt: skip
    with TemporaryDirectory(prefix="curate-bench-") as place:
        folder = Path(place)
        named = [(f"{number:06d}.jpg", path.read_bytes()) for number, path in enumerate(chosen)]
        for name, build in BUILDERS.items():
            build(named, folder / "source" / name)
        _time_all(folder / "source", plan, len(chosen), report)
        kinds = photos.make_small(plan.data, folder / "kinds")
        for name in ("webdataset", "parquet"):
            _weigh(name, [path.read_bytes() for path in kinds], (small, large), folder, report)
    return report


def _time_all(source: Path, plan: Plan, count: int, report: Report) -> None:
    names = list(BUILDERS)
    runs: dict[str, list[Usage]] = {name: [] for name in names}
    for turn in range(plan.repeats):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            runs[name].append(_run(name, source / name, f"round {turn + 1}"))
    rows = []
    for name, usages in runs.items():
        pairs = zip(runs["imagefolder"], usages, strict=True)
        ratios = [folder.seconds / usage.seconds for folder, usage in pairs]
        rate = count / median(usage.seconds for usage in usages)
        cpu = 1000 * median(usage.cpu_seconds for usage in usages) / count
        rows.append((name, f"{rate:.1f}", f"{cpu:.0f}", format_spread(ratios)))
        report.figures.append({"layout": name, "photos_per_second": rate, "ratios": ratios})
    head = ("layout", "photos/s", "CPU ms per photo", "times the folder")
    report.tables.append(("", head, rows))


def _weigh(
    name: str, kinds: Sequence[bytes], counts: tuple[int, int], folder: Path, report: Report
) -> None:
    usages = []
    for count in counts:
        named = [(f"{n:06d}.jpg", kinds[n % len(kinds)]) for n in range(count)]
        source = folder / f"{name}-{count}"
        BUILDERS[name](named, source)
        usages.append(_run(name, source, f"{count:,} photos"))
    cells = [f"{usage.worker_mb:.0f}" for usage in usages]
    cells += [f"{usage.main_mb:.0f}" for usage in usages]
    head = (
        "layout", *(f"worker at {count:,}, MB" for count in counts),
        *(f"own process at {count:,}, MB" for count in counts),
    )  # fmt: skip
    report.tables.append(("", head, [(name, *cells)]))
    report.figures.append({"layout": name, "memory_mb": cells, "counts": counts})


def _run(layout: str, source: Path, what: str) -> Usage:
    print(f"  {layout}, {what}", file=sys.stderr)
    with TemporaryDirectory(prefix="curate-bench-") as place:
        out = Path(place) / "out"
        command = [
            environments.default_install().program("curate"), "blur", str(source), str(out),
            "--format", layout, "--profile", "fast", "--workers", "2", "--device", "cpu", "--quiet",
        ]  # fmt: skip
        usage = measure(command)
        counts = json.loads((out / "manifest" / "run.json").read_text())["counts"]
        if counts["withheld"]:
            raise BenchError(f"{layout} withheld {counts['withheld']} photos")
        return usage


def _folder(images: Photos, root: Path) -> None:
    _write(root, ((f"train/{name}", data) for name, data in images))


def _hf_folder(images: Photos, root: Path) -> None:
    lines = "".join(json.dumps({"file_name": name, "text": "a"}) + "\n" for name, _ in images)
    _write(root, [(f"train/{name}", data) for name, data in images])
    (root / "train" / "metadata.jsonl").write_text(lines)


def _coco(images: Photos, root: Path) -> None:
    listed = [{"id": n, "file_name": name} for n, (name, _) in enumerate(images)]
    _write(root, ((f"val2017/{name}", data) for name, data in images))
    (root / "annotations").mkdir()
    facts = {"images": listed, "annotations": [], "categories": [{"id": 1, "name": "dog"}]}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(facts))


def _voc(images: Photos, root: Path) -> None:
    _write(root, ((f"JPEGImages/{name}", data) for name, data in images))
    size = "<size><width>1</width><height>1</height></size>"
    xml = "<annotation><filename>{}</filename>" + size + "</annotation>"
    for name, _ in images:
        target = root / "Annotations" / f"{name[:-4]}.xml"
        target.parent.mkdir(exist_ok=True)
        target.write_text(xml.format(name))
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{name[:-4]}\n" for name, _ in images))


def _yolo(images: Photos, root: Path) -> None:
    _write(root, ((f"images/train/{name}", data) for name, data in images))
    labels = root / "labels" / "train"
    labels.mkdir(parents=True)
    for name, _ in images:
        (labels / f"{name[:-4]}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [dog]\n")


def _webdataset(images: Photos, root: Path) -> None:
    root.mkdir(parents=True)
    with tarfile.open(root / "train-000000.tar", "w") as tar:
        for name, data in images:
            for member, content in ((name, data), (f"{name[:-4]}.cls", b"0")):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


_TABLE = pa.schema(
    [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())]
)


def _parquet(images: Photos, root: Path) -> None:
    (root / "data").mkdir(parents=True)
    with pq.ParquetWriter(root / "data" / "train-00000-of-00001.parquet", _TABLE) as writer:
        for table in _tables(images):
            writer.write_table(table)


def _arrow(images: Photos, root: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    dataset = datasets.Dataset(pa.concat_tables(_tables(images))).cast(features)
    dataset.save_to_disk(str(root))


def _tables(images: Photos) -> Iterator[pa.Table]:
    for start in range(0, len(images), 100):
        rows = [
            {"image": {"bytes": data, "path": name}, "label": 0}
            for name, data in images[start : start + 100]
        ]
        yield pa.Table.from_pylist(rows, schema=_TABLE)


def _write(root: Path, files: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]]) -> None:
    for name, data in files:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


BUILDERS: dict[str, Callable[[Photos, Path], None]] = {
    "imagefolder": _folder,
    "hf_folder": _hf_folder,
    "coco": _coco,
    "voc": _voc,
    "yolo": _yolo,
    "webdataset": _webdataset,
    "parquet": _parquet,
    "arrow": _arrow,
}
