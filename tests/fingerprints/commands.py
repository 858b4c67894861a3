"""Every command that writes files, run on small inputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner
from PIL import Image

from curate.cli.main import group
from curate.core.records import printable
from curate.layouts import open_source
from tests.impact.evaluate import trials
from tests.impact.explain import explained
from tests.impact.explain.attribution.networks import box_mask
from tests.impact.predictions.files import draw, save
from tests.impact.train.datasets import make_dataset
from tests.layouts.examples.example import Example

STRATEGIES = ("reweigh", "subset", "oversample", "augment")
MODEL = "python:tests.fingerprints.commands:"


class Colors(trials.Colors):
    """A classifier of colors whose name does not change when tests move."""

    spec = f"{MODEL}Colors"


class ColorsAt(explained.Colors):
    """A network that looks at the known face."""

    spec = f"{MODEL}ColorsAt"

    def __init__(self) -> None:
        super().__init__(box_mask(slice(3, 10), slice(4, 11)))


def curate(*arguments: str | Path, codes: Sequence[int] = (0,)) -> str:
    """Run one command in this process; what it prints on stdout."""
    done = CliRunner().invoke(group, [str(each) for each in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    code = done.return_value if isinstance(done.return_value, int) else 0
    assert code in codes, (arguments, code, done.output)
    return done.stdout


def run_layout(example: Example, root: Path) -> Iterator[tuple[str, Path]]:
    """Blur, verify, replay, publish, audit and balance a dataset of one layout."""
    source, out = root / "source", root / "out"
    source.mkdir()
    example.build(source)
    records = list(open_source(str(source), example.layout).records())
    save_one_face([record.id for record in records], root / "faces.parquet")
    layout = ("--format", example.layout)
    curate("blur", source, out, "--faces", root / "faces.parquet", *layout, "--workers", "1", "-q")
    yield "blur", out
    save_text(root / "verify/problems.jsonl", curate("verify", out, "--workers", "1", "--json"))
    yield "verify", root / "verify"
    curate("replay", source, out, root / "again", "--workers", "1", "-q")
    yield "replay", root / "again"
    save_text(root / "shown/manifest.txt", curate("manifest", "show", out))
    curate("manifest", "publish", out, root / "public")
    yield "show", root / "shown"
    table = root / "groups.csv"
    lines = [f"{printable(each.id)},{'ab'[n > 0]},{'xy'[n % 2]}" for n, each in enumerate(records)]
    table.write_text("\n".join(["id,group,label", *lines]) + "\n")
    (root / "target.csv").write_text("group,share\na,0.5\nb,0.5\n")
    audit = root / "audit"
    audit.mkdir()
    curate(
        "audit", source, "--groups", table, "--by", "group", "--label",
        "label", *layout, "--manifest", out, "-o", audit / "audit.json", "--html",
        audit / "audit.html", "-q",
    )  # fmt: skip
    yield "audit", audit
    for strategy in STRATEGIES:
        yield from run_balance(strategy, root, layout)


def run_balance(strategy: str, root: Path, layout: tuple[str, str]) -> Iterator[tuple[str, Path]]:
    """Correct the obfuscated dataset in one way, with a report and a page."""
    out, reports = root / strategy, root / f"{strategy}-report"
    reports.mkdir()
    more = {
        "reweigh": ("--target", "uniform"),
        "augment": ("--augmentation", "photometric", "--target", root / "target.csv"),
    }.get(strategy, ("--target", root / "target.csv"))
    try:
        curate(
            "balance", root / "out", "--groups", root / "groups.csv", "--by", "group",
            "--strategy", strategy, "--tolerance", "0.2", *more, *layout, "--workers", "1",
            "-o", out, "--report", reports / "balance.json", "--html", reports / "balance.html",
            "-q",
        )  # fmt: skip
    except Exception as error:  # what cannot be met is part of the behaviour
        shutil.rmtree(out, ignore_errors=True)
        save_text(reports / "error.txt", f"{type(error).__name__}: {error}\n")
    else:
        yield f"balance {strategy}", out
    yield f"balance {strategy} report", reports


def run_others(root: Path) -> Iterator[tuple[str, Path]]:
    """Commands that do not depend on the layout: detect, evaluate, audit, impact."""
    yield "detect", run_detect(root)
    yield "evaluate", run_evaluate(root)
    yield "audit table", run_audit(root)
    yield "impact predictions", run_predictions(root)
    yield "impact evaluate", run_impact_evaluate(root)
    yield "impact train", run_impact_train(root)
    yield "impact explain", run_impact_explain(root)


def run_detect(root: Path) -> Path:
    """Flat images without a face, so that no figure depends on the processor."""
    source, out = root / "flat", root / "detect"
    save_flat(source, 4)
    out.mkdir()
    for form in ("coco", "imagenet", "voc", "yolo"):
        curate("detect", source, "-o", out / f"{form}.parquet", "--export", form, "-q")
    return out


def run_evaluate(root: Path) -> Path:
    """Given detections against labels: found, missed, false, withheld."""
    source, out = root / "labelled", root / "evaluate"
    save_flat(source, 30)
    out.mkdir()
    near, far = [10.0, 10.0, 40.0, 40.0], [60.0, 60.0, 90.0, 90.0]
    truth, rows = [], []
    for n in range(30):
        truth.append({"file": f"{n:02}.png", "faces": [{"xyxy": near, "tone": ["I", "V"][n % 2]}]})
        faces = [{"xyxy": near, "confidence": 0.5 + n / 64}] if n % 4 else []
        faces += [{"xyxy": far, "confidence": 0.25}] if n % 13 == 0 else []
        row = {"id": f"{n:02}.png", "width": 120, "height": 100, "faces": faces, "reason": None}
        rows.append(row if n != 24 else {**row, "faces": None, "reason": "truncated: it ends"})
    (root / "truth.json").write_text(json.dumps(truth))
    pq.write_table(pa.Table.from_pylist(rows), root / "found.parquet")
    curate(
        "evaluate", source, "--faces", root / "truth.json", "--detections",
        root / "found.parquet", "--sweep", "-o", out / "evaluate.json", "--html",
        out / "evaluate.html", "-q", codes=(3,),
    )  # fmt: skip
    return out


def run_audit(root: Path) -> Path:
    """A table of people, one of judgements, and two audits joined."""
    out, table = root / "audit", root / "people.csv"
    out.mkdir()
    rows = [f"{n}.jpg,{'FM'[n % 3 > 0]},{n % 80},{'ab'[n % 7 > 4]}" for n in range(300)]
    table.write_text("file,gender,age,job\n" + "\n".join(rows) + "\n")
    asked = ("--by", "gender", "--by", "gender,age", "--bins", "age=18,65", "--label", "job")
    curate("audit", table, *asked, "-q", "-o", out / "audit.json", "--html", out / "audit.html")
    curate("audit", table, *asked, "-q", "--min-cell", "10", "-o", out / "public.json")
    shutil.copy(out / "audit.json", root / "other.json")
    merged = curate("audit", "merge", out / "audit.json", root / "other.json", "--json", "-q")
    save_text(out / "merged.json", merged)
    (root / "words.txt").write_text("kind\nrude\nnew\n")
    votes = [f"kind,{name},safe\nrude,{name},offensive\nnew,{name},sensitive" for name in "abcd"]
    (root / "votes.csv").write_text("label,annotator,safety\n" + "\n".join(votes) + "\n")
    curate(
        "audit", "labels", root / "words.txt", "--judgments", root / "votes.csv", "-q",
        "-o", out / "labels.json", "--html", out / "labels.html",
    )  # fmt: skip
    return out


def run_predictions(root: Path) -> Path:
    """Predictions of which every tenth gets worse."""
    out = root / "predictions"
    out.mkdir()
    ids, labels, logits = draw()
    worse = logits.copy()
    worse[::10] = -worse[::10]
    pair = (
        save(root / "original.parquet", ids, labels, logits=logits),
        save(root / "obfuscated.npz", ids, labels, logits=worse),
    )
    curate(
        "impact", "predictions", *pair, "-q", "-o", out / "impact.json", "--html", out / "i.html"
    )
    return out


def run_impact_evaluate(root: Path) -> Path:
    """A classifier of colors on faces whose color is the class."""
    out = root / "impact-evaluate"
    out.mkdir()
    source = trials.make_dataset(root / "trial/photos")
    trials.obfuscate(source, root / "trial/out")
    curate(
        "impact", "evaluate", source, root / "trial/out", "--model", f"{MODEL}Colors", "-q",
        "-o", out / "impact.json", "--html", out / "impact.html",
    )  # fmt: skip
    return out


def run_impact_train(root: Path) -> Path:
    """Two small networks on two small datasets."""
    out = root / "impact-train"
    out.mkdir()
    pair = make_dataset(root / "train/a"), make_dataset(root / "train/b", exchanged=True)
    curate(
        "impact", "train", *pair, "--epochs", "1", "--size", "16", "--batch", "8", "--seeds", "1",
        "--device", "cpu", "-q", "-o", out / "train.json", "--html", out / "train.html",
    )  # fmt: skip
    return out


def run_impact_explain(root: Path) -> Path:
    """A network that looks at the face, before and after."""
    out = root / "impact-explain"
    out.mkdir()
    explained.make_dataset(root / "explain/photos")
    explained.obfuscate(root / "explain/photos", root / "explain/out")
    curate(
        "impact", "explain", root / "explain/photos", root / "explain/out", "--model",
        f"{MODEL}ColorsAt", "--methods", "gradcam,lrp", "-q", "-o", out / "explain.json",
        "--html", out / "explain.html",
    )  # fmt: skip
    return out


def save_one_face(ids: Sequence[str], path: Path) -> None:
    """One face in every image, none in each third."""
    box = [{"xyxy": [8.0, 8.0, 20.0, 20.0]}]
    rows = [
        {"id": printable(name), "faces": box if n % 3 < 2 else []} for n, name in enumerate(ids)
    ]
    kind = pa.schema(
        [("id", pa.string()), ("faces", pa.list_(pa.struct([("xyxy", pa.list_(pa.float64()))])))]
    )
    pq.write_table(pa.Table.from_pylist(rows, kind), path)


def save_flat(folder: Path, count: int) -> None:
    """Images of one grey each."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((100, 120, 3), 8 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def save_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
