"""`tools/setup.py` runs before anything is installed: old Pythons, no packages."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import setup

SOURCE = Path(setup.__file__).read_text()
OLDEST = (3, 9)  # what macOS ships


def interpreters() -> dict[str, str]:
    """Every Python 3 that is installed here, one of each minor version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        sys.executable,
        "/usr/bin/python3",
        *map(str, pyenv.glob("versions/3.*/bin/python3")),
    ]
    found = {}
    for path in candidates:
        if shutil.which(path):
            done = subprocess.run(  # noqa: S603  a Python that is installed here, and a fixed program
                [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=True,
            )
            found[done.stdout.strip()] = path
    return found


INTERPRETERS = interpreters()


def is_old(version: str) -> bool:
    return tuple(map(int, version.split("."))) < OLDEST


every_interpreter = pytest.mark.parametrize(
    "interpreter",
    [path for version, path in INTERPRETERS.items() if not is_old(version)],
    ids=[version for version in INTERPRETERS if not is_old(version)],
)


class Checkout:
    """A folder with what `tools/setup.py` needs; ``script`` writes stand-ins for Python 3.13."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tools").mkdir()
        (folder / "requirements").mkdir()
        (folder / "tools" / "setup.py").write_text(SOURCE)
        self.project = folder / "pyproject.toml"
        self.project.write_text("[project]\n")
        self.requirements = folder / "requirements" / "dev.txt"
        self.requirements.write_text("nothing==0\n")

    def script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def set_up(
        self, interpreter: str, python313: Path, name: str = "dev"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  a Python that is installed here, and our own file
            [interpreter, str(self.folder / "tools" / "setup.py"), name],
            env={"PATH": "/usr/bin:/bin", "PYTHON313": str(python313)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_python_3_9_can_run_it() -> None:
    """Python 3.9 evaluates annotations, and fails on a union."""
    tree = ast.parse(SOURCE, feature_version=OLDEST)

    evaluated = [
        annotation
        for node in ast.walk(tree)
        for annotation in (
            getattr(node, "annotation", None),
            getattr(node, "returns", None),
        )
        if annotation is not None
    ]
    unions = [part for each in evaluated for part in ast.walk(each) if isinstance(part, ast.BitOr)]
    assert evaluated
    assert unions == []


@every_interpreter
def test_an_environment_that_is_current_is_not_made_again(
    interpreter: str, checkout: Checkout
) -> None:
    made = checkout.script(".venv/bin/python", "exit 0")
    content = checkout.requirements.read_bytes() + checkout.project.read_bytes()
    stamp = hashlib.sha256(content).hexdigest()
    (checkout.folder / ".venv" / ".requirements.sha256").write_text(stamp)

    done = checkout.set_up(interpreter, made)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


#: Stands in for Python 3.13, also in the environments that it makes; records what is installed.
MAKES_ENVIRONMENTS = """
case "$1 $2" in
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip") echo "$@" >> "${0%/.venv*}/installed" ;;
esac"""


def test_the_project_is_installed_with_its_packages_and_again_when_it_changes(
    checkout: Checkout,
) -> None:
    python = checkout.script("python3.13", MAKES_ENVIRONMENTS)
    installed = checkout.folder / "installed"

    checkout.set_up(sys.executable, python)
    packages, project = installed.read_text().splitlines()
    checkout.set_up(sys.executable, python)
    unchanged = installed.read_text().splitlines()
    checkout.project.write_text("[project]\nversion = '2'\n")
    checkout.set_up(sys.executable, python)

    assert f"--require-hashes --no-compile -r {checkout.requirements}" in packages
    assert project.endswith(f"--no-deps --no-build-isolation -e {checkout.folder}")
    assert unchanged == [packages, project]
    assert len(installed.read_text().splitlines()) == 4


def test_other_environments_do_not_get_the_project(checkout: Checkout) -> None:
    (checkout.folder / "requirements" / "lint.txt").write_text("nothing==0\n")
    python = checkout.script("python3.13", MAKES_ENVIRONMENTS)

    checkout.set_up(sys.executable, python, "lint")

    assert "-e" not in (checkout.folder / "installed").read_text().split()


@every_interpreter
def test_a_missing_python_is_reported_with_how_to_get_it(
    interpreter: str, checkout: Checkout
) -> None:
    done = checkout.set_up(interpreter, checkout.folder / "python3.13")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{setup.HOW_TO}\n")


@every_interpreter
def test_a_failure_shows_the_log_on_standard_error_only(
    interpreter: str, checkout: Checkout
) -> None:
    broken = checkout.script("python3.13", 'test "$1" = -c || { echo no space left; exit 1; }')

    done = checkout.set_up(interpreter, broken)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-2:] == [".venv could not be made:", "no space left"]


def test_an_older_python_gets_a_one_line_message(checkout: Checkout) -> None:
    """The check comes first, and the file parses as Python 3.6, so that it is reached."""
    ast.parse(SOURCE, feature_version=(3, 6))
    first = next(
        node
        for node in ast.parse(SOURCE).body
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)
    )
    assert isinstance(first, ast.If)
    assert ast.unparse(first.test) == f"sys.version_info < {OLDEST}"

    for version, path in INTERPRETERS.items():
        if is_old(version):
            done = checkout.set_up(path, checkout.folder / "python3.13")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.splitlines() == [
                "This Python is older than 3.9: choose another, such as make run PYTHON=python3.13"
            ]


def test_it_imports_the_standard_library_only() -> None:
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [duplicate.name for duplicate in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert imported <= sys.stdlib_module_names


def test_this_python_is_usable_and_a_missing_one_is_not(tmp_path: Path) -> None:
    assert setup.usable(Path(sys.executable))
    assert not setup.usable(tmp_path / "python3.13")


def test_a_python_of_another_version_is_not_usable(tmp_path: Path) -> None:
    other = tmp_path / "python3.13"
    other.write_text("#!/bin/sh\nexit 1\n")  # how the probe exits on any other version
    other.chmod(0o755)
    assert not setup.usable(other)
