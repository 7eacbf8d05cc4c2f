"""Write the generated documents and parts of documents in docs/: ``python -m tools.generate``.

With ``--check`` it writes nothing, and the status is 1 if a document is out of date.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import capacity, cli_docs, costs, markers, openapi

PROGRAM = "make generate"
DOCS = Path(__file__).resolve().parents[1] / "docs"

#: Makes each document from its present text.
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
            sys.stderr.write(f"docs/{name} is out of date. Update it with: {PROGRAM}\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
