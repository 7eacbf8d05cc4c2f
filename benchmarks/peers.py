"""The peers: the usual stack, built as its tutorial says, and other people's clients.

None of them is part of the system or its tests. If one cannot be installed, ``PeerMissing`` has the
reason, and the table shows it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3

from benchmarks.artifact import Artifact
from local.build import BUILD, ROOT, STATE

USUAL_STACK = ROOT / "benchmarks" / "powertools_stack"
REQUIREMENTS = ROOT / "requirements" / "powertools-stack.txt"
#: The Python that has plivo-python.
PYTHON = ROOT / ".venv-peers" / "bin" / "python"


class PeerMissing(Exception):
    """A peer cannot be measured here; the message says why, and how to get it."""


def ours(function: str) -> Artifact:
    """What `sam build` made of a function of the template, with its layer."""
    return Artifact(BUILD / function, BUILD / "ColdTransferLayer")


def powertools_stack() -> Artifact:
    """What a plain `sam build` makes of the usual stack; built when its sources changed."""
    folder = STATE / "powertools-stack"
    build = folder / "build"
    stamp = build / ".sources.sha256"  # a build by hand takes it away with it
    sources = [*sorted(USUAL_STACK.glob("*")), REQUIREMENTS]
    wanted = hashlib.sha256(b"".join(p.read_bytes() for p in sources if p.is_file())).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        # SAM's builder for Python looks for python3.13 on PATH.
        search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        sam = str(Path(sys.executable).with_name("sam"))
        template = str(USUAL_STACK / "template.yaml")
        command = [sam, "build", "--template", template, "--manifest", str(REQUIREMENTS)]
        built = subprocess.run(  # noqa: S603  a fixed command
            [*command, "--build-dir", str(build)],
            cwd=ROOT,
            env={**os.environ, "PATH": search, "SAM_CLI_TELEMETRY": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise PeerMissing(f"the usual stack: sam build failed: {built.stderr[-300:]}")
        stamp.write_text(wanted)
    return Artifact(build / "UsualStackFunction")


def plain_boto3(folder: Path) -> Artifact:
    """boto3, what it needs, and urllib3, as pip leaves them: the layer's versions, untrimmed."""
    site = Path(boto3.__file__).parents[1]
    for package in ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "urllib3"):
        shutil.copytree(site / package, folder / package)
    shutil.copy(site / "six.py", folder)
    return Artifact(folder).compiled()


def why_missing() -> str:
    """Why plivo-python cannot be measured here; empty if it can."""
    return "" if PYTHON.exists() else "no .venv-peers: make venv-peers"
