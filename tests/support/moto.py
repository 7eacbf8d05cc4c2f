"""moto's server in a separate process: an independent implementation of conditional writes."""

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from local.daemons import Daemon, stop
from local.emulator import clean_environment
from local.ports import free_port

READY_SECONDS = 30.0


def start_moto(folder: Path) -> tuple[str, Daemon]:
    """Start it on a free port of loopback and wait until it answers; returns its address."""
    (folder / "tmp").mkdir()
    port = free_port()
    daemon = Daemon(folder, "moto")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    daemon.start(command, clean_environment(folder), folder)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and daemon.alive():
        try:
            with urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=2):  # noqa: S310  our own http address
                return url, daemon
        except urllib.error.URLError:
            time.sleep(0.1)
    stop([daemon])
    raise AssertionError(f"moto did not start on {url}: {daemon.log.read_text()[-2000:]}")
