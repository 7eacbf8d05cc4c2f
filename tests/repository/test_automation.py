"""Workflow, Dependabot and pre-commit name what exists; the workflow has few permissions."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs would be one more pin

ROOT = Path(__file__).parents[2]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = load(".github/workflows/ci.yml")["jobs"]
    return found


def commands(job: dict[str, Any]) -> list[list[str]]:
    return [shlex.split(step["run"]) for step in job["steps"] if "run" in step]


def test_every_change_is_checked_with_the_command_that_people_run(jobs: dict[str, Any]) -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    (events,) = re.findall(r"^on:\n(.*?)^\S", text, re.MULTILINE | re.DOTALL)
    triggers = re.findall(r"^  (\w+):", events, re.MULTILINE)
    assert triggers == ["push", "pull_request", "workflow_dispatch"]
    assert commands(jobs["checks"]) == [[".ci/run"]]
    assert "if" not in jobs["checks"]


def test_ci_runs_the_targets_that_contributing_lists() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^for target in (.+); do$", script, re.MULTILINE)
    document = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"^\| `\.ci/run` \| what CI runs: (.+) \|$", document, re.MULTILINE)
    assert targets.split() == re.findall(r"`make ([a-z-]+)`", documented)
    assert set(targets.split()) <= set(TARGETS)


def test_a_deployment_needs_a_person_the_checks_and_the_main_branch(jobs: dict[str, Any]) -> None:
    deploy = jobs["deploy"]
    assert deploy["needs"] == "checks"
    assert deploy["environment"] == "prod"
    wanted = ("inputs.deploy", "'workflow_dispatch'", "'refs/heads/main'")
    assert all(condition in deploy["if"] for condition in wanted)
    (build, sam) = commands(deploy)
    assert build[0] == "make"
    assert build[1] in TARGETS
    assert sam[:4] == [".venv/bin/sam", "deploy", "--config-env", "prod"]


def test_permissions_and_time_are_limited(jobs: dict[str, Any]) -> None:
    assert load(".github/workflows/ci.yml")["permissions"] == {}
    assert jobs["checks"]["permissions"] == {"contents": "read"}
    assert jobs["deploy"]["permissions"] == {"contents": "read", "id-token": "write"}
    for job in jobs.values():
        assert job["timeout-minutes"] <= 90
        checkout = next(step for step in job["steps"] if "actions/checkout@" in step["uses"])
        assert checkout["with"]["persist-credentials"] is False
    assert "secrets." not in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


def test_dependabot_updates_every_file_of_pins() -> None:
    updates = {
        each["package-ecosystem"]: each for each in load(".github/dependabot.yml")["updates"]
    }
    assert updates.keys() == {"pip", "github-actions"}
    folders = {ROOT / name.lstrip("/") for name in updates["pip"]["directories"]}
    pinned = {*ROOT.glob("requirements/*.txt"), *ROOT.glob("layers/*/requirements.txt")}
    assert {path.parent for path in pinned} == folders


def test_hooks_are_the_projects_own_tools() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for repo in load(".pre-commit-config.yaml")["repos"]:
        assert repo["repo"] == "local"  # nothing is downloaded
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            (tool,) = re.findall(r"\.venv/bin/([a-z]+(?: -m [a-z.]+)?)", hook["entry"])
            assert f"$(BIN)/{tool}" in makefile
