"""Makes loopback ports reachable from containers: `python -m local.relay HOST PORT...`.

Forwards each port on HOST, an address of this machine, to the same port on 127.0.0.1.
"""

import asyncio
import contextlib
import functools
import socket
import struct
import sys
from asyncio import StreamReader, StreamWriter

CHUNK_BYTES = 64 * 1024
LISTENS = "relaying"  # printed once it listens


async def serve(host: str, ports: list[int]) -> None:
    """Relay until cancelled.

    Raises
    ------
    OSError
        A port of ``host`` is in use, or ``host`` is not an address of this machine.
    """
    async with contextlib.AsyncExitStack() as servers:
        for port in ports:
            connect = functools.partial(_connect, port=port)
            await servers.enter_async_context(await asyncio.start_server(connect, host, port))
        print(LISTENS, flush=True)
        await asyncio.Event().wait()


async def _connect(reader: StreamReader, writer: StreamWriter, *, port: int) -> None:
    try:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        _reset(writer)
        return
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, behind_writer))
            both.create_task(_copy(behind_reader, writer))
    except* OSError:
        # Pass a reset on as a reset, so that the client sees what the server did.
        _reset(writer)
        _reset(behind_writer)
    finally:
        writer.close()
        behind_writer.close()


async def _copy(source: StreamReader, target: StreamWriter) -> None:
    while chunk := await source.read(CHUNK_BYTES):
        target.write(chunk)
        await target.drain()
    target.write_eof()  # the other direction may continue


def _reset(writer: StreamWriter) -> None:
    own: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def main() -> int:
    host, *ports = sys.argv[1:]
    try:
        asyncio.run(serve(host, [int(port) for port in ports]))
    except OSError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
