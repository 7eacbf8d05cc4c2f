"""Static checks of our own, for what the linters do not know: part of `make lint`.

PCT1  urllib3 is asked without ``retries=False`` and ``redirect=False``: its defaults repeat a POST
      after a broken TLS record and follow redirects with it.
PCT2  a secret is compared with ``==`` or ``!=``: the time that takes tells how much of it is right.
PCT3  certificates or host names are not verified.
PCT4  a log call or an exception gets a value that must not be written: an address, a token, a body.

A finding is left alone with ``# check: PCTn <reason>`` on its line.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: What ships, and what handles credentials beside it.
CHECKED = ("layers/cold_transfer/cold_transfer", "functions", "local")

_ASKS = frozenset({"request", "urlopen", "request_encode_body", "request_encode_url"})
_POOLS = frozenset({"PoolManager", "ProxyManager", "HTTPConnectionPool", "HTTPSConnectionPool"})
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
    """Findings in one module's source, in the order of its lines."""
    lines = source.splitlines()
    pools = _pools(ast.parse(source))
    found = {
        Finding(path, line, rule, text)
        for node in ast.walk(ast.parse(source))
        for line, rule, text in _judge(node, pools)
    }
    return sorted(
        each
        for each in found
        if (allowed := _ALLOWED.search(lines[each.line - 1])) is None or allowed[1] != each.rule
    )


def _pools(tree: ast.AST) -> frozenset[str]:
    """Names that urllib3 pools are bound to, attributes included."""
    return frozenset(
        _name(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and _name(node.value.func) in _POOLS
        for target in node.targets
    )


def _judge(node: ast.AST, pools: frozenset[str]) -> Iterator[tuple[int, str, str]]:
    if isinstance(node, ast.Call):
        yield from _judge_call(node, pools)
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        equality = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        literal = any(isinstance(side, ast.Constant) for side in sides)
        if equality and not literal and any(_SECRET.search(_name(side)) for side in sides):
            yield node.lineno, "PCT2", "compare secrets with hmac.compare_digest"
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if _turns_verification_off(_name(target), node.value):
                yield node.lineno, "PCT3", "certificates and host names have to be verified"
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        yield from _private(node.exc.args)


def _judge_call(node: ast.Call, pools: frozenset[str]) -> Iterator[tuple[int, str, str]]:
    name = _name(node.func)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    on_pool = isinstance(node.func, ast.Attribute) and _name(node.func.value) in pools | {"urllib3"}
    if name in _ASKS and on_pool and not (_is(keywords, "retries") and _is(keywords, "redirect")):
        yield node.lineno, "PCT1", "urllib3 needs retries=False and redirect=False"
    if name == "_create_unverified_context" or any(
        _turns_verification_off(argument, value) for argument, value in keywords.items()
    ):
        yield node.lineno, "PCT3", "certificates and host names have to be verified"
    if name in _LOGS and isinstance(node.func, ast.Attribute):
        yield from _private([*node.args, *keywords.values()])


def _private(values: Iterable[ast.expr]) -> Iterator[tuple[int, str, str]]:
    for value in values:
        for part in ast.walk(value):
            if isinstance(part, ast.Name | ast.Attribute) and _name(part) in _PRIVATE:
                yield value.lineno, "PCT4", f"{_name(part)} must not be logged or raised"


def _turns_verification_off(name: str, value: ast.expr) -> bool:
    if name in ("check_hostname", "assert_hostname", "verify"):
        return isinstance(value, ast.Constant) and value.value is False
    if name in ("verify_mode", "cert_reqs"):
        text = value.value if isinstance(value, ast.Constant) else _name(value)
        return text in ("CERT_NONE", "CERT_OPTIONAL", 0, 1)
    return False


def _is(keywords: dict[str, ast.expr], name: str) -> bool:
    value = keywords.get(name)
    return isinstance(value, ast.Constant) and value.value is False


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
