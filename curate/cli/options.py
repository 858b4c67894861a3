"""Options that several commands share, each declared once."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from curate.detectors import DETECTORS
from curate.layouts import LAYOUTS
from curate.layouts.access.address import is_address
from curate.layouts.access.folder import follow_links
from curate.obfuscators import OBFUSCATORS


class _LocalPath(click.Path):
    """A path on a local disk.

    An empty one, as from an unset shell variable, is refused, and so are devices and pipes: they
    may have no end, and an output would replace them.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _check_text(self, value, param, ctx)
        if isinstance(value, str) and is_address(value):
            self.fail("only SOURCE can be a URI; give a local path", param, ctx)
        if value == "-" or _is_special(Path(value)):
            what = "is a device or pipe; give a file or folder (--json prints results on stdout)"
            self.fail(f"{value} {what}", param, ctx)
        return super().convert(value, param, ctx)


def _check_text(
    kind: click.types.ParamType[Any],
    value: Any,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> None:
    """Refuse an empty path, as from an unset variable, and ``~`` that the shell did not expand."""
    if value == "":
        kind.fail("the path is empty", param, ctx)
    if isinstance(value, str) and value.split("/")[0] == "~" and not Path("~").exists():
        kind.fail(
            f"the shell did not expand '~' of {value}; write it outside quotes, or $HOME instead",
            param,
            ctx,
        )


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class _OutputPath(_LocalPath):
    """A path on a local disk, or the URI of an output on an object storage."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and is_address(value):
            return value
        return super().convert(value, param, ctx)


class _SourcePath(click.types.StringParamType):
    """A path or a URI as it was typed: `pathlib.Path` would drop a slash of ``s3://``."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        _check_text(self, value, param, ctx)
        return str(value)


PATH = _LocalPath(path_type=Path)
"""The type of every argument and option that is a local path."""

OUT = _OutputPath(path_type=Path)
"""The type of an argument that is an output: a local path or a URI."""

SOURCE = _SourcePath()
"""The type of every argument and option that names a dataset: a path or a URI."""


METHODS = "\n".join(f"  {name}: {summary}" for name, summary in OBFUSCATORS.describe())
LAYOUTS_LIST = "\n".join(f"  {name}: {summary}" for name, summary in LAYOUTS.describe())
DETECTORS_LIST = "\n".join(f"  {name}: {summary}" for name, summary in DETECTORS.describe())


Decorator = Callable[[Any], Any]

WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Number of worker processes. [default: one per core]",
)
GROUPS = click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="Attributes of each image: CSV, TSV, JSON Lines or Parquet with a column of image ids "
    "(file names, paths or unique path suffixes).",
)
BY = click.option(
    "--by",
    multiple=True,
    metavar="NAME[,NAME…]",
    help="Attribute to group by, or several crossed; can be repeated. [default: all with 2 to 12 "
    "values]",
)
PER = click.option(
    "--per",
    type=click.Choice(["record", "person"]),
    default="record",
    show_default=True,
    help="Unit of counting. record: each image once; several values form a group of their own "
    "(Female+Male). person: each row of an id, and each element of a list.",
)
SEPARATOR = click.option(
    "--separator", metavar="TEXT", help="Separator of several values in one field."
)
BINS = click.option(
    "--bins",
    multiple=True,
    metavar="NAME=RANGES",
    help="Ranges of a numeric column: age=child<18,adult<65,old or age=18,65; can be repeated.",
)
LABELS = click.option(
    "--labels",
    type=PATH,
    metavar="TABLE",
    help="Table with the columns id and label (CSV, TSV, JSON Lines or Parquet). "
    "[default: the categories of the dataset]",
)
OUTPUT = click.option(
    "--output", "-o", type=PATH, metavar="FILE", help="Write the report as JSON to this file."
)
HTML = click.option(
    "--html", type=PATH, metavar="FILE", help="Write the report as an HTML page to this file."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
SHARD_SIZE = click.option(
    "--shard-size",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Images per shard, the unit of work. [default: chosen from the number of images]",
)
FORM = click.option(
    "--as",
    "form",
    type=click.Choice(["keep", "parquet", "webdataset", "imagefolder"]),
    help="Format in which the dataset is published. [default: keep; parquet for COCO, VOC, YOLO "
    "and save_to_disk]",
)
EVIDENCE = click.option(
    "--report",
    "reports",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Report of evaluate, audit, impact or review; those beside OUT are found by themselves.",
)
TEMPLATE = click.option(
    "--template", type=PATH, metavar="FILE", help="Jinja template for the body of the card."
)
_PROFILE_TIME = click.option(
    "--profile-time",
    is_flag=True,
    help="Print the CPU time per image by stage: decode, gate, detect, verify, obfuscate, encode, "
    "hash, write.",
)

ENGINE = click.option(
    "--engine",
    metavar="ENGINE",
    default="local",
    help="What runs the workers: local, ray (started on this machine) or ray:ADDRESS for a "
    "running cluster: HOST:PORT, ray://HOST:PORT or auto. [default: local]",
)
SHARD_TIMEOUT = click.option(
    "--shard-timeout",
    type=float,
    metavar="SECONDS",
    default=300.0,
    help="On Ray: replace a worker that makes no progress on its shard for so long. [default: 300]",
)
SHARDS = click.option(
    "--shards",
    metavar="I/N",
    help="Do every N-th shard, from the I-th, and stop: one of N processes on this or other "
    "machines that share the output. Finish with --finish.",
)
FINISH = click.option(
    "--finish",
    is_flag=True,
    help="Only check and assemble the output, whose shards other processes have committed.",
)
LEASE_TIMEOUT = click.option(
    "--lease-timeout",
    type=float,
    metavar="SECONDS",
    default=60.0,
    help="Take over the work of another process on the same output that has shown no sign of "
    "life for so long. [default: 60]",
)
QUIET = click.option("--quiet", "-q", is_flag=True, help="Print no progress and no summary.")
SIGN = click.option(
    "--sign",
    type=PATH,
    metavar="KEY",
    help="Sign the manifest with this SSH key (a private key, or a public key whose private key "
    "an agent holds). [default: not signed]",
)
SHOW_ORIGINALS = click.option(
    "--show-originals",
    is_flag=True,
    help="Show the originals in the HTML page. It contains visible faces; do not share.",
)
ALLOW_MISSING = click.option(
    "--allow-missing",
    is_flag=True,
    help="Continue without the images that are missing from an input, instead of stopping.",
)


def seed_option(default: int | None = 0) -> Decorator:
    """``--seed``; a command that reads a recipe file gives None to tell whether it is set."""
    return click.option("--seed", type=int, default=default, help="Random seed. [default: 0]")


def device_option(default: str | None = "auto") -> Decorator:
    """``--device``; a command that reads a recipe file gives None to tell whether it is set."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default=default,
        help="Device that networks run on. [default: auto]",
    )


def _permit_links(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Follow links in the datasets that the command opens."""
    if value:
        ctx.with_resource(follow_links())


FOLLOW = click.option(
    "--follow-links",
    is_flag=True,
    expose_value=False,
    callback=_permit_links,
    help="Follow symbolic links that point outside SOURCE, as in the Hub's cache or with DVC.",
)


def layout_option(default: str | None = "auto") -> Decorator:
    """``--format``, which is the parameter ``layout``, and ``--follow-links``."""
    format_ = click.option(
        "--format",
        "layout",
        type=click.Choice(["auto", *LAYOUTS]),
        default=default,
        help="Layout of the dataset. [default: auto]",
    )
    return lambda command: format_(FOLLOW(command))


SEED, DEVICE, LAYOUT = seed_option(), device_option(), layout_option()


def run_options(command: Any) -> Any:
    """Add ``--format``, ``--workers``, ``--quiet``, ``--json`` and ``--profile-time``."""
    return add_options((LAYOUT, WORKERS, QUIET, JSON, _PROFILE_TIME), command)


def share_options(command: Any) -> Any:
    """Add the options of work that several processes share, and ``--engine``."""
    return add_options((SHARDS, FINISH, ENGINE, SHARD_TIMEOUT, LEASE_TIMEOUT), command)


def read_sharing(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Session` that `share_options`, or some of them, set."""
    names = ("engine", "shard_timeout", "lease_timeout", "shards", "finish")
    return {name: options[name] for name in names if name in options}


def add_options(options: Sequence[Decorator], command: Any) -> Any:
    """Apply option decorators so that ``--help`` lists them in the order given."""
    for option in reversed(options):
        command = option(command)
    return command
