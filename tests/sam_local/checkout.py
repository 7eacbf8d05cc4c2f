"""A checkout of its own, in which the commands of documents are typed as they stand."""

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
COMMAND_SECONDS = 240  # a few seconds each, where nothing else is at work

#: What a fresh clone does not have. `.venv` is linked: making one is not what is tested here.
NOT_CLONED = shutil.ignore_patterns(
    ".git", ".venv*", ".aws-sam", ".local", ".*_cache", ".hypothesis", "__pycache__"
)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the project."""

    folder: Path

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        # Up to date: else the copy's make would install itself, for good, into what it links.
        subprocess.run(["make", "venv"], cwd=ROOT, check=True)  # noqa: S607 -- as a user types it
        shutil.copytree(ROOT, folder, ignore=NOT_CLONED)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        """That of a newcomer: no credentials, no settings of the test run."""
        inherited = ("PATH", "HOME", "LANG", "TMPDIR", "DOCKER_HOST", "PYTHON313")
        return {name: os.environ[name] for name in inherited if name in os.environ} | {
            "SAM_CLI_TELEMETRY": "0"
        }

    def type(self, *lines: str) -> subprocess.CompletedProcess[str]:
        """Type the lines into one shell, which stops at the first that fails."""
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
        """Containers that have a folder of this checkout mounted."""
        listed = docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}").splitlines()
        return [line.split()[0] for line in listed if str(self.folder) in line]


@dataclass(frozen=True, slots=True)
class Page:
    """The commands of docs/sam-local.md, each on a line of its own."""

    lines: tuple[str, ...]

    @classmethod
    def read(cls) -> "Page":
        blocks = re.findall(
            r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        return cls(tuple("".join(blocks).splitlines()))

    @property
    def preparation(self) -> list[str]:
        """What is typed once per stack, before the first sample."""
        first = next(number for number, line in enumerate(self.lines) if " invoke " in line)
        return list(self.lines[:first])

    @property
    def exports(self) -> list[str]:
        return [line for line in self.lines if line.startswith("export ")]

    def with_words(self, *words: str) -> list[str]:
        return [line for line in self.lines if all(word in shlex.split(line) for word in words)]

    def samples(self) -> dict[str, str]:
        """For every file of events/ that has one, by its name, the command against the stack."""
        found = {}
        for line in self.with_words("invoke", "--config-file"):
            words = shlex.split(line)
            found[Path(words[words.index("-e") + 1]).stem] = line
        return found


def docker(*words: str) -> str:
    return subprocess.run(  # noqa: S603 -- words of these tests
        ["docker", *words],  # noqa: S607 -- as found on PATH, like the one SAM CLI talks to
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
