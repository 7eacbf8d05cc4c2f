"""The static checks find the faults that they look for, and nothing else."""

import pytest

from tools.checks import check


def rules(source: str) -> list[str]:
    return [finding.rule for finding in check(source, "module.py")]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("ok = token == given", "PCT2"),
        ("ok = given != client.signing_secret", "PCT2"),
        ("ok = a == b == expected_digest", "PCT2"),
        ("logger.info('sent', to=action.to)", "PCT4"),
        ("logger.info(f'sent to {action.to}')", "PCT4"),
        ("raise ValueError(f'bad body {body}')", "PCT4"),
    ],
)
def test_a_fault_is_found(source: str, rule: str) -> None:
    assert rules(source) == [rule]


@pytest.mark.parametrize(
    "source",
    [
        "ok = hmac.compare_digest(token, given)",
        "ok = scheme == 'bearer'",
        "missing = token == ''",
        "logger.info('sent', action_id=claim.action_id)",
        "raise ValueError('the body is not JSON')",
        "ok = token == given  # check: PCT2 a test of equal hashes, not of secrets",
    ],
)
def test_correct_code_passes(source: str) -> None:
    assert rules(source) == []


def test_an_exception_without_a_reason_or_for_another_rule_does_not_count() -> None:
    assert rules("ok = token == given  # check: PCT2") == ["PCT2"]
    assert rules("ok = token == given  # check: PCT4 because") == ["PCT2"]


def test_the_finding_names_file_and_line() -> None:
    (finding,) = check("x = 1\nok = token == given\n", "functions/a.py")
    assert (finding.path, finding.line) == ("functions/a.py", 2)
