"""What each lever gave: the same figure with the lever switched off, less the figure with it."""

import importlib.metadata
import shutil
from functools import partial
from pathlib import Path
from statistics import median

import botocore

from benchmarks.artifact import Artifact
from benchmarks.process import cpu_ms, environment, fresh
from benchmarks.row import Row, Table, interleaved
from benchmarks.start_up import IMPORT_APP

_REPEATS = 50

_POWERTOOLS = "import boto3, aws_lambda_powertools"
_RESOLVER = f"""{_POWERTOOLS}
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.utilities.parser import BaseModel
class Asked(BaseModel): to: str
class Answered(BaseModel): api_id: str
app = APIGatewayRestResolver(enable_validation=True)
"""
_DATA_CLASSES = f"""{IMPORT_APP}
from dataclasses import dataclass
for _ in range({_REPEATS}):
    @dataclass(frozen=True, slots=True)
    class Value: a: str; b: int; c: str = ""; d: int | None = None; e: str = ""
"""
_NAMED_TUPLES = f"""{IMPORT_APP}
from typing import NamedTuple
for _ in range({_REPEATS}):
    class Value(NamedTuple): a: str; b: int; c: str = ""; d: int | None = None; e: str = ""
"""
_COLLECTED = f"import gc; gc.disable = gc.freeze = lambda: None; {IMPORT_APP}"
_CONTEXTS = f"{IMPORT_APP}; import ssl\nfor _ in range({_REPEATS}): ssl.create_default_context()"
_SCHEMAS = f"""{IMPORT_APP}
import fastjsonschema, importlib.resources, json
schema = json.loads(importlib.resources.read_text("cold_transfer", "action.schema.json"))
for _ in range({_REPEATS}): fastjsonschema.compile(schema)
"""


def untrimmed(artifact: Artifact, to: Path) -> Artifact:
    """A copy whose botocore has the data of every service again, as on PyPI.

    Raises
    ------
    ValueError
        The botocore at hand is of another version than the artifact's.
    """
    copied = artifact.copy(to)
    if copied.layer is None:
        raise ValueError("the artifact has no layer")
    site = copied.layer / "python"
    data = site / "botocore" / "data"
    version = importlib.metadata.version("botocore")
    if not (site / f"botocore-{version}.dist-info").is_dir():
        raise ValueError(f"the layer has another botocore than {version}")
    full = Path(botocore.__file__).parent / "data"
    shutil.rmtree(data)  # its models are plain JSON, which goes before the archived
    shutil.copytree(full, data)
    return copied


def measure(
    table: Table, webhook: Artifact, usual: Artifact | str, folder: Path, runs: int
) -> None:
    """Start-up with one lever off at a time; ``folder`` takes copies of the artifacts."""
    variants: dict[str, tuple[Artifact | None, str]] = {
        "bare": (None, "pass"),
        "as it is": (webhook, IMPORT_APP),
        "no bytecode": (webhook.copy(folder / "no-bytecode").without_bytecode(), IMPORT_APP),
        "untrimmed": (untrimmed(webhook, folder / "untrimmed"), IMPORT_APP),
        "collected": (webhook, _COLLECTED),
        "contexts": (webhook, _CONTEXTS),
        "schemas": (webhook, _SCHEMAS),
        "data classes": (webhook, _DATA_CLASSES),
        "named tuples": (webhook, _NAMED_TUPLES),
    }
    if isinstance(usual, Artifact):
        compiled = usual.copy(folder / "usual-compiled").compiled()
        variants |= {
            "X-Ray's SDK": (compiled, f"{_POWERTOOLS}, aws_xray_sdk.core"),
            "Powertools": (compiled, _POWERTOOLS),
            "resolver": (compiled, _RESOLVER),
        }
    values = interleaved(
        {
            name: partial(cpu_ms, fresh(program), environment(artifact))
            for name, (artifact, program) in variants.items()
        },
        runs,
    )

    def row(what: str, off: str, on: str = "as it is", divisor: int = 1) -> Row:
        if off not in values:
            return Row(what, unit="ms", missing=str(usual))
        differences = [(a - b) / divisor for a, b in zip(values[off], values[on], strict=True)]
        shows = f"{median(values[off]):.0f} ms / {median(values[on]):.0f} ms"
        return Row(what, "", differences, unit="ms", shows=shows)

    table.levers += [
        row("bytecode that does not look at dates", "no bytecode"),
        row("no resolver, no parser, no pydantic", "resolver", "Powertools"),
        row("no X-Ray SDK", "X-Ray's SDK", "Powertools"),
        row("no garbage collection until it has started", "collected"),
        row("one TLS context, for each one more", "contexts", divisor=_REPEATS),
        row("schema compiled once, for each time more", "schemas", divisor=_REPEATS),
        row("a named tuple, not a data class, for each", "data classes", "named tuples", _REPEATS),
        row("botocore with five services", "untrimmed"),
    ]
    megabytes = [variants[name][0].zipped_bytes() / 1e6 for name in ("untrimmed", "as it is")]  # type: ignore[union-attr]  # both have an artifact
    table.levers.append(
        Row(
            "the same, in the archive",
            "",
            [megabytes[0] - megabytes[1]],
            unit="MB",
            shows=f"{megabytes[0]:.1f} MB / {megabytes[1]:.1f} MB",
        )
    )
