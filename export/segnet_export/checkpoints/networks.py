"""Find the networks in what a training script saved: state dicts, and whole modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from segnet_deploy.errors import InputError
from segnet_export.checkpoints.restricted_pickle import Opaque
from segnet_export.checkpoints.stored_tensors import SpecialTensor

# Keys under which training scripts save the weights; the first that exists is used.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
)
_MAX_DEPTH = 32  # of dicts in dicts
_MAX_MODULES = 100_000


@dataclass(frozen=True)
class Layer:
    """A module of a network that was saved whole: the class's name, its numbers and flags."""

    type_name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Network:
    """The tensors of a network by name, and its layers by name if it was saved whole.

    A value is a Tensor; or a SpecialTensor or an Opaque, which no network can be built from.
    `key` is where in the file's dicts it is.
    """

    key: str
    tensors: dict[str, Any]
    layers: dict[str, Layer] = field(default_factory=dict)

    @property
    def dimensions(self) -> set[int]:
        """The numbers of dimensions of its convolutions' weights: 1 to 3."""
        dims = {v.dim() - 2 for v in self.tensors.values() if isinstance(v, Tensor)}
        special = any(isinstance(v, SpecialTensor) for v in self.tensors.values())
        return (dims & {1, 2, 3}) | ({2} if special else set())


def find_networks(found: Any) -> list[Network]:
    """Return the networks inside a training script's dicts, the usual keys first.

    States of optimisers, which have `param_groups`, are left out. Networks of 1-D and 3-D
    convolutions count if there is none of 2-D ones. Raises InputError for a module that contains
    itself.
    """
    networks = list(_search(found, "", set()))
    return [n for n in networks if 2 in n.dimensions] or networks


def _search(found: Any, key: str, seen: set[int]) -> Iterator[Network]:
    if id(found) in seen or key.count(".") > _MAX_DEPTH:
        return
    seen.add(id(found))
    if isinstance(found, nn.Module):
        layers = {name: _layer_of(module) for name, module in found.named_modules()}
        yield Network(key, dict(found.state_dict()), layers)
    elif isinstance(found, Opaque) and is_module(found):
        network = Network(key, {})
        _add_module(found, "", network, ())
        if network.dimensions:
            yield network
    elif isinstance(found, Opaque):
        yield from _search(found.state, key, seen)
    elif isinstance(found, Mapping) and "param_groups" not in found:
        network = Network(key, {str(k): v for k, v in found.items() if _belongs(str(k), v)})
        if network.dimensions:
            yield network
            return
        known = [name for name in WRAPPERS if name in found]
        for name in (*known, *(name for name in found if name not in known)):
            yield from _search(found[name], f"{key}.{name}" if key else str(name), seen)


def is_module(found: Opaque) -> bool:
    """Return whether the object was a torch.nn.Module or a part of a TorchScript archive."""
    state = found.state
    eager = isinstance(state, dict) and "_parameters" in state and "_modules" in state
    return eager or found.type_name.startswith("__torch__.")


def _belongs(name: str, value: Any) -> bool:
    if isinstance(value, Opaque):
        return "." in name and not name.endswith("_extra_state")
    return isinstance(value, (Tensor, SpecialTensor))


def _add_module(module: Opaque, name: str, network: Network, path: tuple[int, ...]) -> None:
    """Add the tensors and layers of a saved module to `network`, in the order of state_dict."""
    if id(module) in path or len(network.layers) > _MAX_MODULES:
        raise InputError(f"the module '{name[:40]}' contains itself; save model.state_dict()")
    state = module.state
    if not isinstance(state, dict):
        if _has_tensor(state):
            raise InputError(
                f"the part '{name}' of the network is restored by its own code, which is not run; "
                "save model.state_dict()"
            )
        state = {}
    network.layers[name] = Layer(module.type_name, _settings(state))
    prefix = f"{name}." if name else ""
    if "_parameters" in state:
        hidden = state.get("_non_persistent_buffers_set", ())
        buffers = {k: v for k, v in state.get("_buffers", {}).items() if k not in hidden}
        tensors, children = {**state["_parameters"], **buffers}, state["_modules"]
    else:
        tensors = children = state
    for part, value in tensors.items():
        if isinstance(value, (Tensor, SpecialTensor)):
            network.tensors[f"{prefix}{part}"] = value
    for part, value in children.items():
        if isinstance(value, Opaque) and is_module(value):
            _add_module(value, f"{prefix}{part}", network, (*path, id(module)))


def _has_tensor(state: Any) -> bool:
    if isinstance(state, (tuple, list)):
        return any(isinstance(item, (Tensor, SpecialTensor, Opaque)) for item in state)
    return isinstance(state, (Tensor, SpecialTensor))


def _layer_of(module: nn.Module) -> Layer:
    kind = type(module)
    return Layer(f"{kind.__module__}.{kind.__qualname__}", _settings(vars(module)))


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    plain = (bool, int, float, str)
    return {
        name: value
        for name, value in state.items()
        if type(value) in plain or (type(value) is tuple and all(type(v) in plain for v in value))
    }
