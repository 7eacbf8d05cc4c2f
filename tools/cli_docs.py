"""Each command of the operator with its help, as docs/cli.md has it."""

import argparse
from collections.abc import Iterator

from cold_transfer_cli.__main__ import parser

WIDTH = 100


def written() -> dict[str, str]:
    """What stands in the document, by name."""
    sections = [f"## {one.prog}\n\n```text\n{_help(one)}```\n" for one in parsers(parser())]
    return {"commands": "\n" + "\n".join(sections)}


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
