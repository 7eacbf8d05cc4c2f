"""`local/setup.py` runs before anything is installed: old Pythons, no packages."""

import ast
import sys
from pathlib import Path

from local import setup

SOURCE = Path(setup.__file__).read_text()


def test_it_is_understood_by_python_3_11() -> None:
    ast.parse(SOURCE, feature_version=(3, 11))


def test_it_imports_the_standard_library_only() -> None:
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert imported <= sys.stdlib_module_names


def test_this_python_is_usable_and_one_that_is_not_there_is_not(tmp_path: Path) -> None:
    assert setup.usable(Path(sys.executable))
    assert not setup.usable(tmp_path / "python3.13")


def test_a_python_of_another_version_is_not_usable(tmp_path: Path) -> None:
    other = tmp_path / "python3.13"
    other.write_text("#!/bin/sh\nexit 1\n")  # what the probe ends with on any other version
    other.chmod(0o755)
    assert not setup.usable(other)


def test_the_advice_is_one_line() -> None:
    assert "\n" not in setup.HOW_TO
