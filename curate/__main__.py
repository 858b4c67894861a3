"""The process of the command line: ``curate`` and ``python -m curate``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while its modules are imported ends it with a line, too."""
    try:
        from curate.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("curate: interrupted; run the command again\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
