"""Unpickle a checkpoint without running code from it.

Tensors, containers and numbers become themselves. An object of any other class becomes an Opaque,
which keeps what the file says about the object; its class is never imported.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import torch

from segnet_export.checkpoints.stored_tensors import (
    SPECIAL_TENSORS,
    STORAGE_TYPES,
    rebuild_parameter,
    rebuild_subclass,
    rebuild_tensor,
    rebuild_typed_tensor,
)

_Python = pickle._Unpickler


def _check_keys(keys: Sequence[Any]) -> None:
    """Raise UnpicklingError for nested tuples: hashing them can exhaust the C stack."""
    for key in keys:
        if isinstance(key, tuple) and any(isinstance(part, (tuple, frozenset)) for part in key):
            raise pickle.UnpicklingError("a key of nested tuples")


class Opaque:
    """An object of a class that is not imported.

    `type_name` is the class's full name in the file, and `state` what the object would restore its
    attributes from, or None.
    """

    type_name = ""
    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Opaque:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        """Accept the elements of a subclass of list or set; they are not kept."""

    extend = add = append


class Items(dict[Any, Any]):
    """Stands for OrderedDict, defaultdict and Counter: their items without attributes."""

    def __init__(self, *arguments: Any) -> None:
        for argument in arguments:  # pairs; a default of defaultdict is Opaque
            if isinstance(argument, (dict, list, tuple)):
                pairs = list(argument.items() if isinstance(argument, dict) else argument)
                _check_keys([key for key, _ in pairs])
                self.update(pairs)

    def __setstate__(self, _: Any) -> None:
        pass


def _restore_set(items: Sequence[Any] = ()) -> set[Any]:
    _check_keys(items)
    return set(items)


def _restore_bytes(text: str, _: str = "latin1") -> bytes:
    """Return the bytes that protocol 2 stores as a text of the characters 0 to 255."""
    return text.encode("latin1")


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": Items,
    "collections.defaultdict": Items,
    "collections.Counter": Items,
    "_codecs.encode": _restore_bytes,
    "builtins.set": _restore_set,
    "__builtin__.set": _restore_set,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": rebuild_typed_tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": rebuild_subclass,
    **SPECIAL_TENSORS,
}


class RestrictedUnpickler(_Python):
    """Unpickle one object; `load_storage` maps torch's persistent ids to storages.

    `load_bytes` reads a storage that is pickled as bytes. `unsafe` imports and calls what the file
    names. Raises UnpicklingError, or almost any other exception for a damaged file. It derives
    from the unpickler in Python: the one in C allocates whatever a damaged file asks for.
    """

    def __init__(
        self,
        stream: BinaryIO,
        load_storage: Callable[[Any], Any],
        load_bytes: Callable[[bytes], Any] | None = None,
        unsafe: bool = False,
    ) -> None:
        super().__init__(stream, encoding="latin1")
        self._load_storage = load_storage
        self._unsafe = unsafe
        self._classes = dict(_KNOWN)
        if load_bytes is not None:
            self._classes["torch.storage._load_from_bytes"] = load_bytes

    def persistent_load(self, pid: Any) -> Any:
        """Return the object that is stored beside the pickle."""
        return self._load_storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global name of the file."""
        full = f"{module}.{name}"
        if full in self._classes:
            return self._classes[full]
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if self._unsafe and not module.startswith("__torch__"):  # the classes of TorchScript
            return super().find_class(module, name)
        self._classes[full] = type("Opaque", (Opaque,), {"type_name": full})
        return self._classes[full]

    def check_target(self, target: Any) -> None:
        """Raise UnpicklingError if an item or a state is given to anything but our own classes."""
        if not self._unsafe and not isinstance(target, (Opaque, dict)):
            raise pickle.UnpicklingError(f"an item or a state of a {type(target).__name__}")


def _check_state(unpickler: Any) -> None:
    unpickler.check_target(unpickler.stack[-2])


def _check_item(unpickler: Any) -> None:
    *_, target, key, _value = unpickler.stack
    unpickler.check_target(target)
    _check_keys([key])


def _check_items(unpickler: Any) -> None:
    unpickler.check_target(unpickler.metastack[-1][-1])
    _check_keys(unpickler.stack[::2])


def _check_elements(unpickler: Any) -> None:
    _check_keys(unpickler.stack)


def _after(opcode: bytes, check: Callable[[Any], None]) -> tuple[int, Callable[[Any], None]]:
    """Return an entry of the unpickler's table that runs `check` before the operation."""
    operation = _Python.dispatch[opcode[0]]

    def load(unpickler: Any) -> None:
        check(unpickler)
        operation(unpickler)

    return opcode[0], load


RestrictedUnpickler.dispatch = {
    **_Python.dispatch,
    **dict(
        [
            _after(pickle.BUILD, _check_state),
            _after(pickle.SETITEM, _check_item),
            _after(pickle.SETITEMS, _check_items),
            _after(pickle.ADDITEMS, _check_elements),
            _after(pickle.FROZENSET, _check_elements),
        ]
    ),
}
