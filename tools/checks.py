"""The project's own static checks, part of `make lint`.

PCT2  a secret is compared with ``==`` or ``!=``: the time reveals how much of it is right.
PCT4  a log call or an exception contains a value that must not be logged: an address, a token, a
      body.

A comment ``# check: PCTn REASON`` on the same line suppresses a finding.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: The code that ships, and other code that handles credentials.
CHECKED = ("layers/cold_transfer/cold_transfer", "functions", "local", "cold_transfer_cli")

_SECRET = re.compile(
    r"(^|_)(token|secret|signature|digest|password|hmac|mac)s?($|_)", re.IGNORECASE
)
_PRIVATE = frozenset(
    {"to", "trigger_source", "auth_token", "signing_secret", "raw", "body", "token"}
)
_LOGS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
_ALLOWED = re.compile(r"# check: (PCT[0-9]) \S+")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    text: str


def check(source: str, path: str) -> list[Finding]:
    """Findings in one module's source, in the order of its lines; ``path`` is only for display."""
    lines = source.splitlines()
    found = {
        Finding(path, line, rule, text)
        for node in ast.walk(ast.parse(source))
        for line, rule, text in _judge(node)
    }
    return sorted(
        each
        for each in found
        if (allowed := _ALLOWED.search(lines[each.line - 1])) is None or allowed[1] != each.rule
    )


def _judge(node: ast.AST) -> Iterator[tuple[int, str, str]]:
    match node:
        case ast.Compare():
            sides = [node.left, *node.comparators]
            equality = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
            literal = any(isinstance(side, ast.Constant) for side in sides)
            if equality and not literal and any(_SECRET.search(_name(side)) for side in sides):
                yield node.lineno, "PCT2", "compare secrets with hmac.compare_digest"
        case ast.Raise(exc=ast.Call(args=values)):
            yield from _private(values)
        case ast.Call(func=ast.Attribute(attr=name)) if name in _LOGS:
            yield from _private([*node.args, *(keyword.value for keyword in node.keywords)])


def _private(values: Iterable[ast.expr]) -> Iterator[tuple[int, str, str]]:
    for value in values:
        for part in ast.walk(value):
            if isinstance(part, ast.Name | ast.Attribute) and _name(part) in _PRIVATE:
                yield value.lineno, "PCT4", f"{_name(part)} must not be logged or raised"


def _name(node: ast.expr) -> str:
    """The last name of a dotted expression; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def main() -> int:
    findings: list[Finding] = []
    for folder in CHECKED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            findings += check(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.rule} {finding.text}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
