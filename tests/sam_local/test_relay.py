"""The relay between containers and loopback, tested between two loopback addresses."""

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.daemons import Daemon, stop
from local.emulator import clean_environment
from local.relay import CHUNK_BYTES, LISTENS

ROOT = Path(__file__).parents[2]
# Replaces the address of Docker's bridge. macOS has neither this address nor a bridge.
BRIDGE = "127.0.0.2"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the relay is for Linux only")


@pytest.fixture
def behind() -> Iterator[socket.socket]:
    """A listening socket on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


@pytest.fixture
def port(behind: socket.socket, tmp_path: Path) -> Iterator[int]:
    """The port that is relayed to ``behind``."""
    number: int = behind.getsockname()[1]
    relay = Daemon(tmp_path, "relay")
    command = [sys.executable, "-m", "local.relay", BRIDGE, str(number)]
    relay.start(command, clean_environment(tmp_path), ROOT)
    try:
        while LISTENS not in relay.log.read_text():
            assert relay.alive(), relay.log.read_text()
        yield number
    finally:
        stop([relay])


def connect(port: int) -> socket.socket:
    return socket.create_connection((BRIDGE, port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    with contextlib.closing(connection.makefile("rb")) as stream:
        return stream.read()


def test_each_direction_ends_independently(behind: socket.socket, port: int) -> None:
    question, answer = b"q" * (3 * CHUNK_BYTES), b"a" * (3 * CHUNK_BYTES)
    with connect(port) as outside:
        inside, _ = behind.accept()
        with inside:
            inside.settimeout(20)
            outside.sendall(question)
            outside.shutdown(socket.SHUT_WR)
            assert read_all(inside) == question
            inside.sendall(answer)
            inside.shutdown(socket.SHUT_WR)
            assert read_all(outside) == answer


def test_a_reset_is_relayed(behind: socket.socket, port: int) -> None:
    with connect(port) as outside:
        inside, _ = behind.accept()
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        inside.close()
        with pytest.raises(ConnectionResetError):
            outside.recv(1)


def test_without_a_server_the_connection_is_reset(behind: socket.socket, port: int) -> None:
    behind.close()
    with pytest.raises(ConnectionResetError), connect(port) as outside:
        outside.recv(1)


def test_it_listens_on_the_given_address_only(port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.3", port), timeout=20)
