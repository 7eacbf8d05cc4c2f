"""Removes from botocore's data what our clients do not read: ``trim_botocore.py DATA SERVICE...``.

That is every service that is not named, the examples, the documentation in the models, and the
endpoints of other services: most of what a client parses when it is made, at every cold start, and
keeps in memory. The rest is written as plain JSON, which needs no gunzip at start-up and does not
depend on the version of zlib.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any


def without_documentation(node: Any) -> Any:  # noqa: ANN401  JSON
    """The model without its texts. (A member named documentation that is an object is kept.)"""
    if isinstance(node, dict):
        return {
            name: without_documentation(value)
            for name, value in node.items()
            if name != "documentation" or not isinstance(value, str)
        }
    if isinstance(node, list):
        return [without_documentation(value) for value in node]
    return node


def write(path: Path, document: Any) -> None:  # noqa: ANN401  JSON
    path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


def trim(data: Path, services: set[str]) -> None:
    """Trim the folder ``data`` to ``services``; exit if one of them is not there."""
    missing = services - {path.name for path in data.iterdir()}
    if missing:
        raise SystemExit(f"botocore has no {', '.join(sorted(missing))}: fix SERVICES")
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in services:
            shutil.rmtree(folder)
    for path in data.glob("*/*/examples-1.json*"):
        path.unlink()
    for path in data.glob("*/*/*.json.gz"):
        document = json.loads(gzip.decompress(path.read_bytes()))
        write(path.with_suffix(""), without_documentation(document))
        path.unlink()
    endpoints = json.loads((data / "endpoints.json").read_bytes())
    for partition in endpoints["partitions"]:
        partition["services"] = {
            name: of_service
            for name, of_service in partition["services"].items()
            if name in services
        }
    write(data / "endpoints.json", endpoints)


if __name__ == "__main__":
    trim(Path(sys.argv[1]), set(sys.argv[2:]))
