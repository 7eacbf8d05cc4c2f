"""Write what docs/ takes from the code: ``python -m tools.generate``.

With ``--check`` nothing is written, and the status is 1 if a document is not current.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import capacity, cli_docs, costs, markers, openapi

PROGRAM = "make generate"
DOCS = Path(__file__).resolve().parents[1] / "docs"

#: What each document has to be, given what it is.
DOCUMENTS: Mapping[str, Callable[[str], str]] = {
    "openapi.json": lambda _: openapi.text(),
    "cli.md": lambda text: markers.written(text, PROGRAM, cli_docs.written()),
    "costs.md": lambda text: markers.written(text, PROGRAM, costs.tables()),
    "throughput.md": lambda text: markers.written(text, PROGRAM, capacity.written()),
}


def main(arguments: list[str], docs: Path = DOCS) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check, status = parser.parse_args(arguments).check, 0
    for name, made in DOCUMENTS.items():
        before = (docs / name).read_text(encoding="utf-8")
        after = made(before)
        if not check:
            (docs / name).write_text(after, encoding="utf-8")
        elif after != before:
            sys.stderr.write(f"docs/{name} is not current: {PROGRAM}\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
