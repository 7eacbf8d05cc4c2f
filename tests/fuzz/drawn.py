"""Turns a fuzzer's bytes into the parts of a request.

Any bytes make a request, and a small change of the bytes is a small change of the request.
"""

from collections.abc import Sequence


class Drawn:
    """Takes values from the front of ``data``; at its end, numbers are 0 and texts are empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        return (self._take(1) or b"\0")[0] % below

    def choice[T](self, values: Sequence[T]) -> T:
        return values[self.number(len(values))]

    def raw(self) -> bytes:
        """Up to 255 bytes; the next byte is their number."""
        return self._take(self.number(256))

    def text(self) -> str:
        """Any text; bytes that are not UTF-8 become lone surrogates."""
        return self.raw().decode("utf-8", "surrogateescape")

    def rest(self) -> bytes:
        return self._take(len(self._data))

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        self._at += len(taken)
        return taken


def packed(*pieces: int | str | bytes) -> bytes:
    """The bytes from which ``Drawn`` takes these values: numbers, and length-prefixed texts."""
    found = b""
    for piece in pieces:
        if isinstance(piece, int):
            found += bytes([piece])
            continue
        raw = piece.encode("utf-8", "surrogateescape") if isinstance(piece, str) else piece
        found += bytes([len(raw)]) + raw
    return found
