"""Questions to a person, where there is one."""

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
    """The answer of a person at a terminal, asked again while ``fault`` finds one in it.

    hidden
        Whether what is typed is not shown.

    Raises
    ------
    OperatorError
        There is no terminal (``otherwise`` says how the answer is given then), or no answer.
    """
    if not sys.stdin.isatty():
        raise OperatorError(f"There is no terminal to ask at: {otherwise}")
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
    return ask(f"{question} [y/N]", otherwise).lower() in ("y", "yes")
