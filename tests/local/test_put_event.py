"""`python -m local.put_event`: a file that is no event is refused in one line."""

import json
from pathlib import Path

import pytest

from local.put_event import main

EVENT = {"source": "a", "detail-type": "Cold Transfer Requested", "detail": {}}


@pytest.mark.parametrize(
    "text",
    ["", "[]", '"text"', *(json.dumps(EVENT).replace(f'"{name}"', '"other"') for name in EVENT)],
)
def test_a_file_that_is_no_event_is_refused_in_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "event.json"
    file.write_text(text)

    assert main([str(file)]) == 1

    assert capsys.readouterr().err == (
        f"{file} is not a JSON object with source, detail-type and detail: see events/\n"
    )


def test_a_file_that_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (tmp_path, tmp_path / "missing.json"):
        assert main([str(file)]) == 1

        error = capsys.readouterr().err
        assert str(file) in error
        assert error.count("\n") == 1
