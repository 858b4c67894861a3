"""``python -m curate``: the command line."""

from __future__ import annotations

from curate.cli.main import main

main()
