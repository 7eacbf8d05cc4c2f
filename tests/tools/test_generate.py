"""A document that is not what the code gives is named by the check, and put right by the other."""

import shutil
from pathlib import Path

import pytest

from tools.generate import DOCS, DOCUMENTS, main


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_not_current_is_found_and_written(
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
