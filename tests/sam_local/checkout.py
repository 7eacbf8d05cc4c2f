"""A fresh checkout, in which tests run the commands of documents unchanged."""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sam-local.md"
COMMAND_SECONDS = 240  # a few seconds each on an idle machine

#: What a fresh clone does not have. `.venv` is linked instead of being made again.
NOT_CLONED = shutil.ignore_patterns(
    ".git", ".venv*", ".aws-sam", ".local", ".*_cache", ".hypothesis", "__pycache__"
)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the project."""

    folder: Path

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        # If .venv were outdated, make in the copy would install the copy into the linked .venv.
        subprocess.run(["make", "venv"], cwd=ROOT, check=True)  # noqa: S607 -- as a user types it
        shutil.copytree(ROOT, folder, ignore=NOT_CLONED)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        """A newcomer's environment: no credentials, no settings of the test run."""
        inherited = ("PATH", "HOME", "LANG", "TMPDIR", "DOCKER_HOST", "PYTHON313")
        return {name: os.environ[name] for name in inherited if name in os.environ} | {
            "SAM_CLI_TELEMETRY": "0"
        }

    def run(self, *lines: str) -> subprocess.CompletedProcess[str]:
        """Run the lines in one shell, which stops at the first that fails."""
        return subprocess.run(  # noqa: S603 -- the lines of our own page
            ["/bin/bash", "-euc", "\n".join(lines)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )

    def containers(self) -> list[str]:
        """The ids of containers that mount a folder of this checkout."""
        listed = docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}").splitlines()
        return [line.split()[0] for line in listed if str(self.folder) in line]


@dataclass(frozen=True, slots=True)
class Page:
    """The commands of docs/sam-local.md, one per line."""

    lines: tuple[str, ...]

    @classmethod
    def read(cls) -> "Page":
        blocks = re.findall(
            r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        return cls(tuple("".join(blocks).splitlines()))

    @property
    def preparation(self) -> list[str]:
        """The commands before the first sample, run once per stack."""
        first = next(number for number, line in enumerate(self.lines) if " invoke " in line)
        return list(self.lines[:first])

    @property
    def exports(self) -> list[str]:
        return [line for line in self.lines if line.startswith("export ")]

    def with_words(self, *words: str) -> list[str]:
        return [line for line in self.lines if all(word in shlex.split(line) for word in words)]

    def samples(self) -> dict[str, str]:
        """The command for each file of events/, by the file's name."""
        commands = {}
        for line in self.with_words("invoke", "--config-file"):
            words = shlex.split(line)
            commands[Path(words[words.index("-e") + 1]).stem] = line
        return commands


def docker(*words: str) -> str:
    return subprocess.run(  # noqa: S603 -- words of these tests
        ["docker", *words],  # noqa: S607 -- found on PATH, as by SAM CLI
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def engine_missing() -> str:
    """Why these tests cannot run here; empty if they can."""
    try:
        docker("info", "--format", "{{.ServerVersion}}")
    except FileNotFoundError:
        return "there is no docker command"
    except subprocess.CalledProcessError as failed:
        return f"no Docker engine answers: {failed.stderr.strip()}"
    return ""
