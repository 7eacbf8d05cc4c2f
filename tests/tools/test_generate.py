"""An outdated document is reported with --check, and updated without it."""

import shutil
from pathlib import Path

import pytest

from tools.generate import DOCS, DOCUMENTS, main


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_outdated_document_is_found_and_updated(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in DOCUMENTS:
        shutil.copy(DOCS / each, tmp_path)
    assert main(["--check"], tmp_path) == 0
    current = (tmp_path / name).read_text()
    changed = current.replace("0.5", "0.6").replace('"title"', '"name"').replace("usage:", "use:")
    (tmp_path / name).write_text(changed)

    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == f"docs/{name} is out of date. Update it with: make generate\n"
    assert (tmp_path / name).read_text() == changed

    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
