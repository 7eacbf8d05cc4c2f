"""Makes `.venv`, `.venv-lint`, `.venv-fuzz` or `.venv-peers`, if its requirements have changed.

Each has Python 3.13 and pinned packages; `.venv` also has the project itself, so that
`.venv/bin/cold-transfer` runs the code in this folder.
Runs with any Python from 3.9, without packages: `python3 tools/setup.py dev`.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.version_info < (3, 9):  # noqa: UP036  an older Python gets exactly this far
    sys.exit("This Python is older than 3.9: choose another, such as make run PYTHON=python3.13")

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "pyproject.toml"
ENVIRONMENTS = {
    "dev": (ROOT / ".venv", ROOT / "requirements" / "dev.txt"),
    "lint": (ROOT / ".venv-lint", ROOT / "requirements" / "lint.txt"),
    "fuzz": (ROOT / ".venv-fuzz", ROOT / "requirements" / "fuzz.txt"),
    "peers": (ROOT / ".venv-peers", ROOT / "requirements" / "peers.txt"),
}
HOW_TO = (
    "Python 3.13 with venv and ensurepip was not found. Install it "
    "(https://www.python.org/downloads/; Debian and Ubuntu: python3.13-venv) or uv "
    "(https://docs.astral.sh/uv/), or give its path: PYTHON313=/path/to/python3.13 make"
)
# Most of the thousands of modules are never imported, so do not compile them.
PINNED = ["--require-hashes", "--no-compile"]
EDITABLE = ["--no-deps", "--no-build-isolation"]  # with the pinned setuptools
# Without ensurepip (a separate package on Debian), venv cannot install pip.
PROBE = "import sys, ensurepip, venv; raise SystemExit(sys.version_info[:2] != (3, 13))"


def main(name: str) -> int:
    folder, requirements = ENVIRONMENTS[name]
    stamp = folder / ".requirements.sha256"
    (ROOT / ".local").mkdir(exist_ok=True)
    with (ROOT / ".local" / f"setup-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two makes at once, the second waits for the first
        depends_on = [requirements, PROJECT] if name == "dev" else [requirements]
        content = b"".join(path.read_bytes() for path in depends_on)
        wanted = hashlib.sha256(content).hexdigest()
        if stamp.is_file() and stamp.read_text() == wanted and usable(folder / "bin" / "python"):
            return 0
        log = ROOT / ".local" / f"setup-{name}.log"
        begun = time.monotonic()
        if not usable(folder / "bin" / "python"):
            python = next(pythons(), None)
            if python is None:
                return fail(HOW_TO)
            say(begun, f"making {folder.name} with {python}")
            if not run([python, "-m", "venv", "--clear", str(folder)], log, begun):
                return fail(f"{folder.name} could not be made:", log)
        say(begun, f"installing pinned packages into {folder.name} (about a minute, once)")
        command = [str(folder / "bin" / "python"), "-m", "pip", "install"]
        command += ["--quiet", "--disable-pip-version-check", "--no-input"]
        if not run([*command, *PINNED, "-r", str(requirements)], log, begun):
            return fail(f"the packages of {requirements.name} could not be installed:", log)
        if PROJECT in depends_on and not run([*command, *EDITABLE, "-e", str(ROOT)], log, begun):
            return fail("the project itself could not be installed:", log)
        stamp.write_text(wanted)
        say(begun, f"{folder.name} is ready")
    return 0


def pythons() -> Iterator[str]:
    """Every Python 3.13 that can be found, or only the one in PYTHON313."""
    named = os.environ.get("PYTHON313")
    candidates = [named] if named else [sys.executable, shutil.which("python3.13")]
    if not named:
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        candidates += sorted(map(str, pyenv.glob("versions/3.13*/bin/python3.13")), reverse=True)
    for candidate in candidates:
        if candidate and usable(Path(candidate)):
            yield candidate
    uv = None if named else shutil.which("uv")
    if uv:
        for command in ("install", "find"):
            found = subprocess.run(  # noqa: S603 -- fixed words, and uv as found on PATH
                [uv, "python", command, "3.13"], capture_output=True, text=True, check=False
            )
        if found.returncode == 0 and usable(Path(found.stdout.strip())):
            yield found.stdout.strip()


def usable(python: Path) -> bool:
    """Whether it runs, is 3.13 and can make environments; a shim on PATH may not."""
    try:
        probe = subprocess.run(  # noqa: S603 -- a fixed probe
            [str(python), "-c", PROBE], capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def run(command: list[str], log: Path, begun: float) -> bool:
    """Run a command with its output in ``log``; print a line every 15 s while it runs."""
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 -- the commands above
            command, stdout=output, stderr=subprocess.STDOUT
        )
        while True:
            try:
                return process.wait(timeout=15) == 0
            except subprocess.TimeoutExpired:
                say(begun, "  …")
            except BaseException:
                process.terminate()
                process.wait()
                raise


def say(begun: float, text: str) -> None:
    """Print progress to standard error; standard output is for the make target."""
    print(f"[{time.monotonic() - begun:5.1f} s] {text}", file=sys.stderr, flush=True)


def fail(text: str, *logs: Path) -> int:
    """Print the reason and the end of each log to standard error; returns the exit status."""
    tails = ["\n".join(log.read_text(errors="replace").splitlines()[-20:]) for log in logs]
    print("\n".join([text, *tails]), file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "dev"))
    except KeyboardInterrupt:
        sys.exit(130)
