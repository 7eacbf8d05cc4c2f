"""Questions to the person at the terminal."""

import getpass
import sys
from collections.abc import Callable

from cold_transfer_cli.commands import say
from cold_transfer_cli.failures import OperatorError


def ask(
    question: str,
    otherwise: str,
    fault: Callable[[str], str | None] = lambda _: None,
    *,
    hidden: bool = False,
) -> str:
    """Ask a question on the terminal; returns the answer, stripped.

    fault
        Returns what is wrong with an answer; the question is then asked again.
    otherwise
        How to give the answer without a terminal, for the error.
    hidden
        Whether to hide what is typed.

    Raises
    ------
    OperatorError
        There is no terminal, or no answer.
    """
    if not sys.stdin.isatty():
        raise OperatorError(f"There is no terminal for questions: {otherwise}")
    while True:
        try:
            given = (getpass.getpass if hidden else input)(f"{question}: ").strip()
        except EOFError:
            raise OperatorError("There was no answer, so nothing was done.") from None
        found = fault(given)
        if found is None:
            return given
        say(found)


def confirmed(question: str, otherwise: str) -> bool:
    """Ask a yes/no question, with no as its default. Raises as ``ask`` does."""
    return ask(f"{question} [y/N]", otherwise).lower() in ("y", "yes")
