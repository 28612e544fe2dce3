"""Protobuf's wire format: the fields of one message, with every length checked before use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from segnet_deploy.errors import InputError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10  # bytes, for 64 bits


class Field(NamedTuple):
    """One field: its number, its wire type, and its value.

    `value` is the number of a VARINT, otherwise the bytes, which are not copied.
    """

    number: int
    kind: int
    value: int | memoryview

    @property
    def data(self) -> memoryview:
        """The bytes of a field that has some. Raises InputError for a VARINT."""
        if isinstance(self.value, int):
            raise InputError(f"field {self.number} is a number where a message was expected")
        return self.value


def read_fields(data: memoryview) -> Iterator[Field]:
    """Yield the fields of one message in file order. Raises InputError if it is damaged."""
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise InputError(f"byte {position}: {number} is not a field number")
        if kind == VARINT:
            value, position = read_varint(data, position)
            yield Field(number, kind, value)
            continue
        if kind == BYTES:
            size, position = read_varint(data, position)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise InputError(f"byte {position}: field {number} has the unknown wire type {kind}")
        if size > len(data) - position:
            raise InputError(
                f"field {number} states {size} bytes but only {len(data) - position} follow: "
                "truncated or damaged"
            )
        yield Field(number, kind, data[position : position + size])
        position += size


def read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return the number at `position` and the position after it. Raises InputError."""
    value = 0
    for shift in range(_LONGEST_VARINT):
        if position >= len(data):
            raise InputError("it ends within a number: truncated")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, position
    raise InputError(f"byte {position}: a number of more than {_LONGEST_VARINT} bytes")
