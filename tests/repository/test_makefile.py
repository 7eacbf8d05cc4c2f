"""What `make` prints and does in a fresh clone, before anything is built."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATTERNS = (ROOT / ".gitignore").read_text().splitlines()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("Makefile", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(clone: Path, target: str) -> str:
    """Run a target that must need no Python: the one given fails."""
    done = subprocess.run(  # noqa: S603  our own targets
        ["/usr/bin/env", "make", "--no-print-directory", target, "PYTHON=false"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_help_leaves_a_gap_between_each_target_and_its_text(clone: Path) -> None:
    lines = [line for line in make(clone, "help").splitlines() if line.startswith("  make ")]

    described = [line.removeprefix("  make ").partition("  ") for line in lines]

    assert len(described) > 10
    for target, gap, text in described:
        assert gap, target
        assert text, target


def test_down_creates_no_environment(clone: Path) -> None:
    before = sorted(clone.iterdir())

    assert make(clone, "down") == "nothing was running\n"
    assert sorted(clone.iterdir()) == before


def test_down_and_clean_work_with_an_incomplete_environment(clone: Path) -> None:
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'No module named boto3' >&2\nexit 1\n")
    python.chmod(0o755)

    make(clone, "down")
    make(clone, "clean")

    assert not python.exists()


def test_clean_removes_everything_that_git_ignores(clone: Path) -> None:
    kept = sorted(clone.iterdir())
    for pattern in PATTERNS:
        if pattern and not pattern.startswith("#"):
            path = clone / pattern.replace("*.py[cod]", "__pycache__/a.pyc").replace("*", "x")
            folder = path if pattern.endswith("/") else path.parent
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "a" if folder is path else path).write_text("")

    make(clone, "clean")

    assert sorted(clone.iterdir()) == kept


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("layers/cold_transfer", "build-ColdTransferLayer"),
        ("functions", "build-WebhookFunction"),
    ],
)
def test_the_build_does_not_use_the_python_that_started_the_set_up(
    folder: str, target: str
) -> None:
    """`make run PYTHON=python3.9` passes its variables to each make that it starts."""
    planned = subprocess.run(  # noqa: S603  our own targets
        ["/usr/bin/env", "make", "-n", target, "PYTHON=python3.9"],
        cwd=ROOT / folder,
        env={"PATH": os.environ["PATH"], "PYTHON313": "/opt/python3.13", "ARTIFACTS_DIR": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "/opt/python3.13" in planned.stdout
    assert "python3.9" not in planned.stdout
