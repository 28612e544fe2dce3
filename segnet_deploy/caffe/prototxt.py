"""Protobuf's text format, as prototxt files use it: text -> nested messages.

There is no schema: the code that uses a message asks for a field as the type that it expects.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from segnet_deploy.errors import InputError

T = TypeVar("T", int, float)
_DEEPEST = 32  # messages within messages; Caffe's own nets have 4
_LARGEST = 16 << 20  # bytes
_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[A-Za-z_][\w.]*|[-+]?(?:\d[\w.+-]*|\.\d[\w.+-]*))
    |(?P<mark>[-{}<>\[\]:,;])""",
    re.VERBOSE,
)


class Field(NamedTuple):
    """One field of a message: its name, its value as text or as a message, and its line."""

    name: str
    value: str | Message
    line: int


class Message:
    """The fields of one message, in file order. `where` names it in error messages."""

    def __init__(self, where: str, fields: list[Field]):
        self.where, self.fields = where, fields

    def names(self) -> set[str]:
        """Return the names of the fields."""
        return {field.name for field in self.fields}

    def messages(self, name: str) -> list[Message]:
        """Return every message called `name`. Raises InputError if one is a single value."""
        return [self._typed(field, Message, "a message in braces") for field in self._all(name)]

    def message(self, name: str) -> Message:
        """Return the message called `name`, with the fields of all if it is repeated."""
        found = self.messages(name)
        return Message(f"{self.where}, {name}", [f for message in found for f in message.fields])

    def texts(self, name: str) -> list[str]:
        """Return every value called `name`. Raises InputError if one is a message."""
        return [self._typed(field, str, "one value") for field in self._all(name)]

    def text(self, name: str, default: str = "") -> str:
        """Return the last value called `name`, or `default`."""
        return next(reversed(self.texts(name)), default)

    def integers(self, name: str) -> list[int]:
        """Return every value called `name` as an integer. Raises InputError."""
        return [self._number(name, text, int) for text in self.texts(name)]

    def integer(self, name: str, default: int) -> int:
        """Return the last value called `name` as an integer, or `default`."""
        return self._number(name, self.text(name, str(default)), int)

    def reals(self, name: str) -> list[float]:
        """Return every value called `name` as a number. Raises InputError."""
        return [self._number(name, text, float) for text in self.texts(name)]

    def real(self, name: str, default: float) -> float:
        """Return the last value called `name` as a number, or `default`."""
        return self._number(name, self.text(name, str(default)), float)

    def flag(self, name: str, default: bool) -> bool:
        """Return the last value called `name` as true or false, or `default`."""
        text = self.text(name, str(default).lower())
        if text not in ("true", "false", "1", "0"):
            raise InputError(f"{self.where}: {name} is {text!r}; expected true or false")
        return text in ("true", "1")

    def _all(self, name: str) -> list[Field]:
        return [field for field in self.fields if field.name == name]

    def _typed(self, field: Field, kind: type[Any], expected: str) -> Any:
        if not isinstance(field.value, kind):
            raise InputError(f"{self.where}: {field.name} on line {field.line} is not {expected}")
        return field.value

    def _number(self, name: str, text: str, kind: type[T]) -> T:
        try:
            number = kind(text.removesuffix("f"))
            if math.isfinite(number):
                return number
        except ValueError:
            pass
        expected = "an integer" if kind is int else "a number"
        raise InputError(f"{self.where}: {name} is {text[:40]!r}; expected {expected}")


def read_prototxt(path: Path) -> Message:
    """Read the text file `path`. Raises InputError with the line if it cannot be parsed."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _LARGEST else b""
    except OSError as error:
        raise InputError(f"cannot read the prototxt {path}: {error.strerror or error}") from error
    if size > _LARGEST:
        raise InputError(f"{path} has {size} bytes; expected a prototxt, the text of a net")
    try:
        return parse_prototxt(data.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text; expected the prototxt here, and the .caffemodel as the model"
        ) from error


def parse_prototxt(text: str, where: str) -> Message:
    """Parse `text`; `where` names it in messages. Raises InputError with the line."""
    return _Parser(text, where).message(closing="", depth=0)


class _Parser:
    def __init__(self, text: str, where: str):
        self._where = where
        self._line = self._taken_line = 1
        self._tokens = self._split(text)
        self._next = next(self._tokens, "")

    def message(self, closing: str, depth: int) -> Message:
        """Parse fields up to `closing`, which is read too."""
        if depth > _DEEPEST:
            raise self._error(f"messages are nested more than {_DEEPEST} deep")
        fields: list[Field] = []
        while self._next != closing:
            line, name = self._line, self._take()
            if not name.isidentifier():
                raise self._error(
                    f"found {name!r} where the name of a field was expected"
                    if name
                    else f"the file ends before {closing!r}"
                )
            colon = self._skip(":")
            if self._next in ("{", "<"):
                fields.append(Field(name, self._nested(depth), line))
            elif not colon:
                raise self._error(f"found {self._next!r} after {name}; expected : or {{")
            elif self._skip("["):
                fields += [Field(name, value, line) for value in self._list(depth)]
            else:
                fields.append(Field(name, self._value(), line))
            if self._next in (",", ";"):
                self._take()
        self._take()
        return Message(self._where, fields)

    def _nested(self, depth: int) -> Message:
        return self.message({"{": "}", "<": ">"}[self._take()], depth + 1)

    def _list(self, depth: int) -> Iterator[str | Message]:
        while not self._skip("]"):
            yield self._nested(depth) if self._next in ("{", "<") else self._value()
            if self._next != "]" and not self._skip(","):
                raise self._error(f"found {self._next!r} in a list; expected , or ]")

    def _value(self) -> str:
        sign = "-" if self._skip("-") else ""
        value = self._take()
        if value[:1] in ("'", '"'):
            value = _unquoted(value)
            while self._next[:1] in ("'", '"'):  # adjacent strings are one
                value += _unquoted(self._take())
        elif not value or not (value[0].isalnum() or value[0] in "_.+-"):
            raise self._error(f"found {value!r} where a value was expected")
        return sign + value

    def _skip(self, token: str) -> bool:
        found = self._next == token
        if found:
            self._take()
        return found

    def _take(self) -> str:
        token, self._taken_line = self._next, self._line
        self._next = next(self._tokens, "")
        return token

    def _split(self, text: str) -> Iterator[str]:
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self._taken_line = self._line
                template = "; a template: replace its ${...} first" * (text[position] == "$")
                raise self._error(f"unexpected character {text[position]!r}{template}")
            if match.lastgroup != "space":
                yield match[0]
            self._line += match[0].count("\n")
            position = match.end()

    def _error(self, what: str) -> InputError:
        return InputError(f"{self._where}, line {self._taken_line}: {what}")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])
