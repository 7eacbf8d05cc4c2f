"""What README and docs name exists: targets, parameters, metrics, files, causes, alarms."""

import re
import shlex
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from cold_transfer.causes import Cause
from cold_transfer_cli.__main__ import parser

ROOT = Path(__file__).parents[2]
TEMPLATE = (ROOT / "template.yaml").read_text()
TEMPLATE_PARSED: dict[str, Any] = yaml_parse(TEMPLATE)
README = ROOT / "README.md"
RUNBOOK = ROOT / "docs" / "runbook.md"
DOCUMENTS = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "events" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
MAX_README_BYTES = 12_000

#: Names in CamelCase that belong to AWS or other programs.
FOREIGN = {
    "AutoPublishAlias",
    "CfnInclude",
    "CfnTable",
    "CustomStatements",
    "DeploymentPreference",
    "GatewayResponses",
    "PendingConfirmation",
    "PutEvents",
    "ReceiveMessage",
    "SendMessage",
    "UpdateSecretVersionStage",
}

#: Placeholders for a person to fill in, and words from the output of other programs.
PLACEHOLDERS = {
    *("AWS_PROFILE", "MESSAGE_ID", "PHLO_ID", "NODE_ID", "ACTION_ID", "LAMBDA_RUNTIME"),
    *("DELETE_SKIPPED", "INSUFFICIENT_DATA", "CAPABILITY_AUTO_EXPAND"),
}

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)

#: Commands in the changelog are not meant to be typed.
every_page = pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if each.name != "CHANGELOG.md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)


FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[str]:
    """The fenced blocks, and each line of the indented ones."""
    text = document.read_text()
    indented = re.findall(r"^ {4}(?=\S)(.+)", FENCED.sub("", text), re.MULTILINE)
    return [*FENCED.findall(text), *indented]


def code(document: Path) -> list[str]:
    """Every piece of code: blocks and spans."""
    return [*blocks(document), *(span.replace("\n", " ") for span in spans(document))]


def spans(document: Path) -> list[str]:
    return re.findall(r"`([^`]+)`", FENCED.sub("", document.read_text()))


def shell_lines(document: Path) -> Iterator[str]:
    """Every shell command, with continued lines joined and comments removed."""
    for piece in code(document):
        for line in piece.replace("\\\n", " ").splitlines():
            yield line.partition("   #")[0].strip()


def headings(document: Path) -> dict[str, str]:
    """Each heading by its anchor on GitHub."""
    found = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"): heading for heading in found
    }


def sources() -> str:
    folders = (
        *("layers/cold_transfer/cold_transfer", "functions", "cold_transfer_cli", "local", "tools"),
        *("tests", "benchmarks"),
    )
    files = [ROOT / "Makefile", ROOT / "samconfig.toml", ROOT / "template.yaml"]
    files += [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return "\n".join(path.read_text() for path in files if path != Path(__file__))


SOURCES = sources()


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_bytes()) <= MAX_README_BYTES


@every_document
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = {
        target
        for line in shell_lines(document)
        for target in re.findall(r"\bmake ([a-z-]+)\b", line)
    }

    assert named <= targets


@every_page
def test_sam_is_named_with_its_path(document: Path) -> None:
    """The project's `sam` is not on PATH; `sam` alone is another version, or does not exist."""
    typed = "\n".join(blocks(document))

    assert re.findall(r"(?:^|[;|&(]) *sam .*", typed, re.MULTILINE) == []


@pytest.mark.parametrize("section", ["Try it", "Request an action", "Deploy it"])
def test_the_readme_uses_the_environment_only_after_make_has_created_it(section: str) -> None:
    text = README.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    made, _, later = "".join(FENCED.findall(text)).partition("make ")

    assert later
    assert ".venv/" not in made


def test_the_readmes_sam_local_commands_are_on_the_page_that_is_tested_in_containers() -> None:
    page = set(shell_lines(ROOT / "docs" / "sam-local.md"))
    (block,) = [block for block in blocks(README) if "sam local" in block]

    typed = {line.partition("   #")[0].strip() for line in block.splitlines()}

    assert typed <= page


@every_document
def test_every_name_of_the_template_and_every_metric_exists(document: Path) -> None:
    known = {
        *TEMPLATE_PARSED["Parameters"],
        *TEMPLATE_PARSED["Resources"],
        *TEMPLATE_PARSED["Outputs"],
        *re.findall(
            r'"([A-Z][a-z]+(?:[A-Z][a-z]+)+)"', SOURCES
        ),  # metrics are quoted where counted
        *re.findall(r"MetricName: (\w+)", TEMPLATE),
        *FOREIGN,
    }

    named = {span for span in spans(document) if re.fullmatch(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+", span)}

    assert named <= known


@every_document
def test_every_environment_variable_exists(document: Path) -> None:
    text = "\n".join(code(document))
    # set in the document itself, or not a variable
    own = set(re.findall(r"\b([A-Z][A-Z0-9_]+)=", text)) | PLACEHOLDERS

    named = set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z0-9]+)+\b", text))

    assert {name for name in named - own if not re.search(rf"\b{name}\b", SOURCES)} == set()


@every_document
def test_every_link_and_every_file_exists(document: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in headings(file)):
            missing.append(target)
    for span in spans(document):
        is_file = re.fullmatch(r"[\w-]+/[\w./-]+\.(?:py|md|json|yaml|toml|svg)", span)
        if is_file and not (ROOT / span).exists():
            missing.append(span)
    assert missing == []


@every_document
def test_every_cause_exists(document: Path) -> None:
    text = document.read_text()
    named = re.findall(r"urn:problem-type:cold-transfer:([a-z-]+)", text)
    named += re.findall(r'cause !?= "([a-z-]+)"', text)

    unknown = {cause for cause in named if cause not in Cause and f":{cause}" not in TEMPLATE}

    assert unknown == set()


@every_document
def test_every_output_exists(document: Path) -> None:
    named = set(re.findall(r"\bcold-transfer outputs (\w+)", document.read_text()))

    assert named <= set(TEMPLATE_PARSED["Outputs"])


@every_document
def test_every_cold_transfer_command_is_valid(document: Path) -> None:
    names = re.findall(r"^    ([a-z-]+) ", parser().format_help(), re.MULTILINE)
    text = document.read_text()
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        for found in re.findall(r"\bcold-transfer ([a-z-][^|>);]*)", block.replace("\\\n", " ")):
            words = shlex.split(found.partition("\n")[0], comments=True)
            if "--help" not in words:
                parser().parse_args(words)
    for span in spans(document):
        for name in re.findall(r"^cold-transfer (?!--)([\w-]+)", span):
            assert name in names


def test_the_runbook_uses_every_cold_transfer_command() -> None:
    commands = set(re.findall(r"^    ([a-z-]+) ", parser().format_help(), re.MULTILINE))
    lines = "\n".join(shell_lines(RUNBOOK))

    named = set(re.findall(r"\bcold-transfer ([a-z-]+)", lines))

    assert commands
    assert named == commands


def test_every_parameter_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "parameters.md").read_text()
    rows = re.findall(r"^\| (`[A-Z].+?) \| (.+?) \|", page, re.MULTILINE)
    shown: dict[str, str] = {}
    for names, defaults in rows:
        listed = re.findall(r"`(\w+)`", names)
        values = defaults.split(", ") if len(listed) > 1 else [defaults]
        shown |= dict(zip(listed, values * len(listed), strict=False))

    assert set(shown) == set(TEMPLATE_PARSED["Parameters"])
    for name, parameter in TEMPLATE_PARSED["Parameters"].items():
        default = str(parameter["Default"])
        if default not in ("", "0"):  # these are described in words
            start = shown[name].removeprefix("…").removesuffix("/s")
            assert default.endswith(start), name


def test_every_alarm_has_its_heading_in_the_runbook_and_every_heading_its_alarm() -> None:
    section = RUNBOOK.read_text().partition("\n## Alarms\n")[2]
    described = {heading.lower().replace(" ", "-") for heading in re.findall(r"### (.+)", section)}

    assert described == set(re.findall(r"\$\{RunbookUrl\}#([a-z-]+)", TEMPLATE))


def test_the_picture_is_well_formed_and_has_every_function_of_the_template() -> None:
    picture = ET.parse(ROOT / "docs" / "architecture.svg")  # noqa: S314  a file of ours
    texts = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}

    named = {text for text in texts if text and re.fullmatch(r"\w+(?:Function|Queue)", text)}

    resources = TEMPLATE_PARSED["Resources"]
    functions = {name for name in resources if name.endswith("Function")}
    assert named == functions | {"DeadLetterQueue"}
    assert named <= set(resources)


def test_the_licence_is_the_one_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    licence = (ROOT / "LICENSE").read_text()

    assert project["license"] == "Apache-2.0"
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
