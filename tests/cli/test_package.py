"""The command, installed from its wheel with only Python and boto3."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cold_transfer_cli.__main__ import parser
from tools import cli_docs

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = SETTINGS["tool"]["setuptools"]["package-dir"]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(  # noqa: S603  commands of this test
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def closure(name: str) -> set[str]:
    """The distribution and everything that it requires."""
    found: set[str] = set()
    left = [name]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            wanted = [Requirement(text) for text in requires(one) or ()]
            left += [each.name for each in wanted if not each.marker or each.marker.evaluate()]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because a build leaves files next to the sources."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    built = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", built)
    run(sys.executable, "-m", "pip", "wheel", *options, copy, cwd=copy)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command, in an environment with boto3 and what it requires."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    options = ("--quiet", "--no-deps", "--no-index")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    site = Path(
        run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=folder).strip()
    )
    ours = Path(
        run(sys.executable, "-c", "import boto3; print(boto3.__file__)", cwd=folder).strip()
    )
    top_level = {"python-dateutil": "dateutil", "six": "six.py"}
    for name in closure("boto3"):
        module = top_level.get(name, name)
        (site / module).symlink_to(ours.parents[1] / module)
    return folder / "venv" / "bin" / "cold-transfer"


def test_boto3_is_the_only_dependency() -> None:
    assert SETTINGS["project"]["dependencies"] == ["boto3"]


def test_the_wheel_has_every_file_of_its_packages(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    wanted = {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".json")
    }
    assert inside == wanted


def test_the_installed_command_shows_its_help(program: Path, tmp_path: Path) -> None:
    assert run(program, "--help", cwd=tmp_path).startswith("usage: cold-transfer ")
    assert (
        run(program, "--version", cwd=tmp_path)
        == f"cold-transfer {SETTINGS['project']['version']}\n"
    )


def test_the_installed_command_finds_every_module_that_it_imports(
    program: Path, tmp_path: Path
) -> None:
    """It imports nothing from the layer's package that needs more than boto3."""
    code = (
        "import importlib, pkgutil, sys, cold_transfer_cli as cli\n"
        "for one in pkgutil.iter_modules(cli.__path__, 'cold_transfer_cli.'):\n"
        "    importlib.import_module(one.name)\n"
        "print(*sorted(name for name in sys.modules if name.startswith('cold_transfer.')))"
    )

    imported = run(program.with_name("python"), "-P", "-c", code, cwd=tmp_path).split()

    assert "cold_transfer.auth.clients" in imported
    assert not [
        name
        for name in imported
        if name.startswith(("cold_transfer.plivo.", "cold_transfer.entrypoints."))
    ]
    assert "cold_transfer.telemetry" not in imported


def test_every_option_is_explained() -> None:
    unexplained = [
        f"{one.prog} {action.option_strings or action.dest}"
        for one in cli_docs.parsers(parser())
        for action in one._actions  # noqa: SLF001  as in cli_docs
        if not action.help and action.option_strings
    ]

    assert unexplained == []
