"""Writes the help of each of the operator's commands into docs/cli.md."""

import argparse
from collections.abc import Iterator

from cold_transfer_cli.__main__ import parser

WIDTH = 100


def written() -> dict[str, str]:
    """The generated part of docs/cli.md, by its name."""
    sections = [f"## {one.prog}\n\n```text\n{_help(one)}```\n" for one in parsers(parser())]
    return {"commands": "\n" + "\n".join(sections)}


def parsers(one: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and, recursively, those of its commands."""
    yield one
    for action in one._actions:  # noqa: SLF001  argparse has no public way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  as above
            for command in action.choices.values():
                yield from parsers(command)


def _help(one: argparse.ArgumentParser) -> str:
    """The help as printed in a terminal of ``WIDTH`` columns."""
    one.formatter_class = _formatter
    return one.format_help()


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, width=WIDTH - 2)
