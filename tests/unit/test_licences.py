"""Nothing ships under a licence that nobody has looked at."""

from email.message import Message

import pytest

from local import licences
from local.licences import Refused, judged

FILES = ["some-1.0.dist-info/licenses/LICENSE.txt", "some/__init__.py"]


def information(*fields: tuple[str, str], version: str = "1.0") -> Message:
    found = Message()
    found["Version"] = version
    for name, value in fields:
        found[name] = value
    return found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("License-Expression", "MIT")], ("MIT",)),
        ([("License-Expression", "Apache-2.0 OR BSD-3-Clause")], ("Apache-2.0", "BSD-3-Clause")),
        ([("License", "Apache-2.0")], ("Apache-2.0",)),
        (
            [("License", "see file"), ("Classifier", "License :: OSI Approved :: MIT License")],
            ("MIT",),
        ),
        (
            [("License-Expression", "MIT"), ("Classifier", "License :: Other/Proprietary License")],
            ("MIT",),
        ),
    ],
)
def test_a_permissive_licence_is_found_where_it_is_declared(
    fields: list[tuple[str, str]], expected: tuple[str, ...]
) -> None:
    assert judged("some", "1.0", information(*fields), FILES).licences == expected


@pytest.mark.parametrize(
    "fields",
    [
        [("License-Expression", "GPL-3.0-or-later")],
        [("License-Expression", "(MIT AND GPL-3.0-only)")],
        [("License", "GPLv3")],
        [("License", "UNKNOWN")],
        [],
        [
            ("Classifier", "License :: OSI Approved :: MIT License"),
            ("Classifier", "License :: Other/Proprietary License"),
        ],
    ],
)
def test_any_other_is_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(Refused, match="some: the licence"):
        judged("some", "1.0", information(*fields), FILES)


def test_the_text_of_the_licence_has_to_come_along() -> None:
    with pytest.raises(Refused, match="without the text"):
        judged("some", "1.0", information(("License", "MIT")), ["some/__init__.py", "README"])


def test_another_version_than_the_layers_is_not_judged() -> None:
    with pytest.raises(Refused, match=r"the layer has 1\.0, this environment 2\.0"):
        judged("some", "1.0", information(("License", "MIT"), version="2.0"), FILES)


def test_every_requirement_of_the_layer_is_judged() -> None:
    requirements = licences.REQUIREMENTS.read_text(encoding="utf-8")
    named = [line for line in requirements.splitlines() if "==" in line]

    assert len(licences.pins(requirements)) == len(named) > 0
    assert [(each.name, each.version) for each in licences.shipped()] == licences.pins(requirements)


def test_the_list_is_current() -> None:
    assert licences.FILE.read_text(encoding="utf-8") == licences.text(licences.shipped())
