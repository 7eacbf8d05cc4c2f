"""The licences of what ships in the layer: `make lint` checks them, `docs/licences.md` shows them.

`python -m local.licences` writes the list; with `--check` it fails if the list is not current, or
if a distribution has a licence that is not on the list of those that may ship. They are read from
the distributions in this environment, which holds what the layer holds, version for version.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "layers" / "cold_transfer" / "requirements.txt"
FILE = ROOT / "docs" / "licences.md"

#: What may ship, by every name under which it is declared: permissive, and fit for Apache-2.0.
ALLOWED = {
    "Apache-2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD": "BSD",
    "BSD License": "BSD",
    "BSD-2-Clause": "BSD-2-Clause",
    "BSD-3-Clause": "BSD-3-Clause",
    "ISC": "ISC",
    "MIT": "MIT",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "MIT-0": "MIT-0",
    "PSF-2.0": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}

_HEAD = """\
# Licences of what ships

`ColdTransferLayer` holds these distributions beside the package `cold_transfer`, which is under
[Apache-2.0](../LICENSE). Each comes with the text of its licence, in its `.dist-info`, and
`LICENCES.txt` of the built layer has the same list. Where two are named, either may be chosen,
or parts are under the one and parts under the other: both may ship.

| distribution | version | licence |
|---|---|---|"""

_FOOT = """
`python -m local.licences` writes this page. `make lint` fails if it is not current, or if a licence
is not one that `local/licences.py` lets through.
"""

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_CLASSIFIER = "License :: "
_TEXT = re.compile(r"(licen[cs]e|copying)", re.IGNORECASE)


class Refused(Exception):
    """A distribution may not ship as it is; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Licensed:
    """A distribution of the layer with the licences that it declares, in the names of this file."""

    name: str
    version: str
    licences: tuple[str, ...]


def pins(requirements: str) -> list[tuple[str, str]]:
    """Name and version of every requirement."""
    return _PIN.findall(requirements)


def declared(information: Message) -> list[str]:
    """The licences that a distribution's metadata names, in its own words.

    The expression is what counts if there is one (PEP 639), then the classifiers: the older field
    may hold anything, up to the licence's whole text.
    """
    expression = information.get("License-Expression")
    if expression:
        return [word for word in re.split(r"\s+(?:AND|OR)\s+|[()]", expression) if word.strip()]
    classifiers = [
        text.removeprefix(_CLASSIFIER).removeprefix("OSI Approved :: ")
        for text in information.get_all("Classifier", [])
        if text.startswith(_CLASSIFIER)
    ]
    return classifiers or [information.get("License", "")]


def judged(name: str, version: str, information: Message, files: Iterable[str]) -> Licensed:
    """The distribution with its licences.

    Raises
    ------
    Refused
        It is not of the pinned version, names no licence that may ship (or one that may not beside
        it), or comes without the licence's text, which has to be passed on.
    """
    if information["Version"] != version:
        raise Refused(f"{name}: the layer has {version}, this environment {information['Version']}")
    found = declared(information)
    for licence in found:
        if licence not in ALLOWED:
            raise Refused(f"{name}: the licence {licence[:60]!r} is not one that may ship")
    if not any(_TEXT.search(Path(file).name) for file in files):
        raise Refused(f"{name}: comes without the text of its licence")
    return Licensed(name, version, tuple(dict.fromkeys(ALLOWED[licence] for licence in found)))


def shipped() -> list[Licensed]:
    """Every distribution of the layer, by name; raises ``Refused`` for the first that may not."""
    found = []
    for name, version in pins(REQUIREMENTS.read_text(encoding="utf-8")):
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise Refused(f"{name}: not in this environment; run make venv") from None
        files = [str(file) for file in distribution.files or ()]
        found.append(judged(name, version, distribution.metadata, files))  # type: ignore[arg-type]  # it is a Message; typeshed has a protocol of its own
    return found


def text(found: Sequence[Licensed]) -> str:
    rows = [f"| {each.name} | {each.version} | {', '.join(each.licences)} |" for each in found]
    return "\n".join([_HEAD, *rows, _FOOT])


def main(arguments: Sequence[str]) -> int:
    try:
        wanted = text(shipped())
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    if "--check" not in arguments:
        FILE.write_text(wanted, encoding="utf-8")
        return 0
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != wanted:
        print("docs/licences.md is not current: run python -m local.licences", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
