"""Each operator's command in docs/cli.md, with its help: `python -m tools.cli_docs` writes it."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from cold_transfer_cli.__main__ import parser
from tools import markers

PROGRAM = "python -m tools.cli_docs"
FILE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 100


def written() -> str:
    """The document as it should be."""
    sections = [
        f"## {one.prog}\n\n```text\n{_help(one)}```\n" for one in parsers(parser()) if one.prog
    ]
    commands = "\n" + "\n".join(sections)
    return markers.written(FILE.read_text(encoding="utf-8"), PROGRAM, {"commands": commands})


def parsers(one: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser itself, then those of its commands, each followed by its own."""
    yield one
    for action in one._actions:  # noqa: SLF001  argparse has no other way to ask for them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  as above
            for command in action.choices.values():
                yield from parsers(command)


def _help(one: argparse.ArgumentParser) -> str:
    """As a terminal of ``WIDTH`` columns shows it."""
    one.formatter_class = _formatter
    return one.format_help()


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, width=WIDTH - 2)


def main() -> int:
    FILE.write_text(written(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
