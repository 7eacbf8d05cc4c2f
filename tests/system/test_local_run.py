"""The program behind `make run`: run to its end, and interrupted."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.build import ROOT, STATE
from local.waiting import eventually

RUN = [sys.executable, "-m", "local", "run"]


@pytest.mark.timeout(240)
def test_it_shows_an_action_at_each_entry_point_and_succeeds() -> None:
    done = subprocess.run(  # noqa: S603 -- our own program
        RUN, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for part in (
        "Plivo accepted an action through each entry point",
        "multi_party_call",
        "webhook-signature",
        "Idempotency-Replayed",
        "cold_transfer",
        "ActionAccepted",
        "PlivoLatency",
        "connect",
        "settle",
    ):
        assert part.lower() in done.stdout.lower(), part
    assert "local-plivo-token-not-a-secret" not in done.stdout


def processes_of(run: int) -> list[int]:
    """The background processes of the stack that process ``run`` started."""
    processes = []
    for pid_file in (STATE / "stacks").glob(f"{run}-*/*.pid"):
        text = pid_file.read_text()
        if text:
            processes.append(int(text))
    return processes


def is_running(process: int) -> bool:
    """Whether it exists, and is no zombie."""
    state = subprocess.run(  # noqa: S603 -- a fixed command and a number
        ["/bin/ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return state.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.timeout(240)
def test_an_interrupt_leaves_no_process_and_no_folder_behind(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        run = subprocess.Popen(RUN, cwd=ROOT, stdout=output, stderr=output)  # noqa: S603 -- as above
    # simulator, trace sink, emulator and the deploy
    assert eventually(lambda: len(processes_of(run.pid)) >= 4, 90)
    started = processes_of(run.pid)
    time.sleep(0.5)  # the deploy is running
    run.send_signal(signal.SIGINT)

    assert run.wait(timeout=60) == 128 + signal.SIGINT
    assert not any(is_running(process) for process in started)
    assert not list((STATE / "stacks").glob(f"{run.pid}-*"))
    assert "Traceback" not in (tmp_path / "output").read_text()
