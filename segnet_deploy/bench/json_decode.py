"""Build dataclasses from JSON, checking every value against the type of its field."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from segnet_deploy.errors import InputError

T = TypeVar("T")


def decode(kind: type[T], content: Any, where: str) -> T:
    """Return a `kind`, a dataclass, from a JSON object; `where` names it in error messages.

    Unknown keys are ignored; a missing or null key gets the field's default. Raises InputError.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where} is {_short(content)}; expected an object")
    hints = get_type_hints(kind)
    values = {}
    for item in fields(kind):  # type: ignore[arg-type]  # T is a dataclass
        if (value := content.get(item.name)) is not None:
            values[item.name] = _convert(hints[item.name], value, f"{where}: {item.name}")
    try:
        return kind(**values)
    except TypeError as error:  # a required field is missing
        raise InputError(f"{where} is incomplete ({error})") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Return `value` as the type `hint`: a dataclass, list, dict, optional or plain type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):  # X | None
        return None if value is None else _convert(arguments[0], value, where)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return decode(hint, value, where)  # type: ignore[arg-type]  # a class, not an instance
    if origin is list and isinstance(value, list):
        return [_convert(arguments[0], item, where) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], item, where) for key, item in value.items()}
    accepted = (int, float) if hint is float else origin or hint
    if not isinstance(value, accepted):
        raise InputError(f"{where} is {_short(value)}; expected {getattr(hint, '__name__', hint)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
