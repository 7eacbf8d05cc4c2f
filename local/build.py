"""Runs `sam build` if the sources have changed; `make build` always runs it."""

import fcntl
import hashlib
import os
import sys
from pathlib import Path

from local.daemons import Daemon, stop
from local.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"
STATE = ROOT / ".local"
SAM = str(Path(sys.executable).with_name("sam"))
SOURCES = ("template.yaml", "samconfig.toml", "functions", "layers")
# `sam build` empties its folder, so a build by hand removes the stamp.
STAMP = BUILD / ".sources.sha256"


def build(progress: Progress, *, always: bool = False) -> Path:
    """Build if necessary; returns the path of the built template.

    Raises
    ------
    StackFailed
        `sam build` failed; the message has the end of its log.
    """
    STATE.mkdir(exist_ok=True)
    with (STATE / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several stacks may start at once
        wanted = _fingerprint()
        if always or not STAMP.is_file() or STAMP.read_text() != wanted:
            task = Daemon(STATE, "build")
            stop([task], grace=0)  # one of an interrupted run: this process has the lock
            task.log.unlink(missing_ok=True)
            # The layer is compiled with python3.13: put this interpreter's folder first on PATH.
            search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
            environment = {**os.environ, "PATH": search, "SAM_CLI_TELEMETRY": "0"}
            progress.run("building with sam build", task, [SAM, "build"], environment, ROOT)
            STAMP.write_text(wanted)
    return BUILD / "template.yaml"


def orphaned() -> list[Daemon]:
    """The build of an interrupted run, if it is still running."""
    with (STATE / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []  # a running command owns it
    return [Daemon(STATE, "build")]


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        top = ROOT / name
        for path in sorted([top, *top.rglob("*")]):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def main() -> int:
    template = build(Progress(), always=True)
    sys.stdout.write(f"built: {template.parent.relative_to(ROOT)}\n")
    return 0
