"""A plan file and its sidecar: what they record, and whether they can be loaded here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.files import sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import contract
from segnet_deploy.runtimes.base import StaleEngineError
from segnet_deploy.runtimes.tensorrt.shape_ranges import Batches, Sizes, read_ranges

MAGICS = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
# Major, minor, patch, build: as trtexec reads them (samples/common/sampleEngines.cpp), and as
# TensorRT-RTX writes them.
_VERSION = slice(24, 28)
_HEADER = 32
# Required fields of the sidecar and their types; others are allowed.
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "builder": str,
    "version": str,
    "targets": list,
    "form": str,
    "precision": str,
    "onnx": str,
    "plan_sha256": str,
    "profiles": dict,
    "metadata": dict,
}
_FORMAT = 1
_PORTABLE = (8, 0)
"""The oldest GPU of TensorRT-RTX's engines without targets. Source: NVIDIA's support matrix."""
_DATA_CENTRE = ((9, 0), (12, 0))
"""From the first to before the second: GPUs that TensorRT-RTX refuses (1.7.1 on an H200)."""

Capability = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """A plan file; `sidecar` is empty if it has none."""

    path: Path
    kind: str
    version: str
    sidecar: dict[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Plan:
        """Read header and sidecar. Raises InputError (missing, truncated, changed, not a plan)."""
        plan = Path(path)
        if not plan.is_file():
            raise InputError(f"no such file: {plan}; expected an engine of segnet-build")
        with plan.open("rb") as stream:
            header = stream.read(_HEADER)
        sidecar = read_sidecar(plan)
        kind = MAGICS.get(header[:4])
        if kind is None or len(header) < _HEADER:
            raise InputError(
                f"{plan} is not a TensorRT plan, or is truncated (it starts with {header[:4]!r}); "
                "build it again with segnet-build"
            )
        version = ".".join(map(str, header[_VERSION]))
        if sidecar:
            if sidecar["builder"] != kind:
                raise InputError(
                    f"{plan} is a plan of {kind}, but {sidecar_path(plan).name} says "
                    f"{sidecar['builder']}; build it again with segnet-build"
                )
            if sha256(plan) != sidecar["plan_sha256"]:
                raise InputError(
                    f"{plan} is not the file that {sidecar_path(plan).name} describes: it is "
                    "truncated or was changed; copy both again, or build it again with segnet-build"
                )
        return cls(plan, kind, version, sidecar)

    @property
    def metadata(self) -> Metadata:
        """Classes and normalisation; defaults without a sidecar. Raises InputError."""
        props = self.sidecar.get("metadata", {})
        return Metadata.from_props({str(k): v for k, v in props.items() if isinstance(v, str)})

    @property
    def onnx(self) -> Path | None:
        """The ONNX file that it was built from, if that is next to it."""
        name = Path(self.sidecar.get("onnx", "")).name
        path = self.path.with_name(name) if name else None
        return path if path is not None and path.is_file() else None

    def rebuild_targets(self, capability: Capability | None) -> tuple[str, ...]:
        """Return the targets with which it is built again for a GPU, by default for its own."""
        own = tuple(str(target) for target in self.sidecar.get("targets", []))
        if self.kind != "tensorrt-rtx":
            return ()
        if capability is None or sm(capability) in own:
            return own
        return () if capability >= _PORTABLE else (sm(capability),)

    def rebuild_command(self, capability: Capability | None = None) -> str:
        """Return the command line that builds this engine again, for a GPU."""
        sidecar = self.sidecar
        words = ["segnet-build", sidecar.get("onnx", "segnet.onnx"), "-o", str(self.path)]
        words += ["--builder", self.kind]
        for option in ("precision", "form"):
            if option in sidecar:
                words += [f"--{option}", str(sidecar[option])]
        if targets := self.rebuild_targets(capability):
            words += ["--target", ",".join(targets)]
        batch, sizes = self.ranges()
        if batch:
            words += ["--batch-range", *map(str, batch)]
        if self.version_compatible:
            words += ["--version-compatible"]
        if sizes:
            words += ["--size-range", *(f"{height}x{width}" for height, width in sizes)]
        return " ".join(words)

    def ranges(self) -> tuple[Batches | None, Sizes | None]:
        """Return the batches and sizes of its profile. Raises InputError."""
        try:
            return read_ranges(self.sidecar.get("profiles", {}), self.metadata.io)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{sidecar_path(self.path)} has malformed profiles ({error}); build the "
                "engine again with segnet-build"
            ) from error

    def check(self, library_version: str, capability: Capability) -> None:
        """Raise StaleEngineError if this library or this GPU cannot load the plan.

        Raises EngineError if no plan of this kind runs on the GPU.

        `library_version` is like 10.3.0; `capability` is the GPU's compute capability.
        """
        if not self._runs_in(library_version):
            raise self._stale(
                f"{self.path} was built by {self.kind} {self.version}, but {library_version} is "
                f"installed; build it again: {self.rebuild_command(capability)} (or --rebuild)"
            )
        if self.kind == "tensorrt-rtx" and _DATA_CENTRE[0] <= capability < _DATA_CENTRE[1]:
            raise EngineError(
                f"{self.path}: TensorRT-RTX does not run on this GPU ({sm(capability)}), which "
                "building again does not change; use an engine of TensorRT (segnet-build "
                "--builder tensorrt), or the .onnx file with onnxruntime-gpu"
            )
        targets = [str(target) for target in self.sidecar.get("targets", [])]
        portable = self.kind == "tensorrt-rtx" and not targets
        wrong = capability < _PORTABLE if portable else sm(capability) not in targets
        if wrong and self.sidecar and (targets or portable):
            raise self._stale(
                f"{self.path} was built for {describe_targets(self.kind, targets)}, but this GPU "
                f"is {sm(capability)}; build it again: {self.rebuild_command(capability)} "
                "(or --rebuild)"
            )

    def _stale(self, message: str) -> StaleEngineError:
        return StaleEngineError(message, can_rebuild=self.onnx is not None)

    def _runs_in(self, library_version: str) -> bool:
        """Return whether a version loads the plan: its own, or a newer one if it is built so."""
        own, here = _release(self.version), _release(library_version)
        return own == here or (self.version_compatible and own < here)

    @property
    def version_compatible(self) -> bool:
        """Whether the plan contains a lean runtime, with which newer versions run it."""
        return self.sidecar.get("version_compatible") is True

    @property
    def embedded(self) -> bool:
        """Whether the plan contains the plugin library."""
        facts = self.sidecar.get("plugin")
        return isinstance(facts, dict) and facts.get("embedded") is True

    def plugin(self, library: Path | None) -> Path | None:
        """Return the plugin library that the engine needs, or None if it needs none.

        `library` is the installed one. Raises EngineError.
        """
        facts = self.sidecar.get("plugin")
        if facts is None:
            return None
        wanted = (facts.get("namespace"), facts.get("version")) if isinstance(facts, dict) else ()
        have = (contract.PLUGIN_NAMESPACE, contract.PLUGIN_VERSION)
        if wanted != have:
            raise self._stale(
                f"{self.path} needs the plugins {wanted}, but this version of segnet-deploy has "
                f"{have}; build it again: {self.rebuild_command()} (or --rebuild)"
            )
        if self.embedded:
            return None
        if library is None:
            raise EngineError(
                f"{self.path} needs the plugin library, which is missing: build it with CMake "
                "(docs/how-to/tensorrt.md) and give --plugin, "
                "or build the engine with --form lowered"
            )
        return library


def sm(capability: Capability) -> str:
    """Return the name of a target, such as sm86."""
    return f"sm{capability[0]}{capability[1]}"


def describe_targets(kind: str, targets: Sequence[str]) -> str:
    """Return the GPUs that an engine runs on, in words."""
    if targets:
        return ", ".join(targets)
    return f"GPUs from {sm(_PORTABLE)} on" if kind == "tensorrt-rtx" else "the GPU of its build"


def sidecar_path(plan: Path) -> Path:
    """Return the path of the sidecar of `plan`."""
    return plan.with_name(plan.name + ".json")


def read_sidecar(plan: Path) -> dict[str, Any]:
    """Return the sidecar of `plan`, or {} if it has none. Raises InputError."""
    path = sidecar_path(plan)
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(known, dict):
        raise _damaged(path, "it is not a JSON object")
    for name, kind in _FIELDS.items():
        if not isinstance(known.get(name), kind):
            raise _damaged(path, f"'{name}' is {known.get(name)!r:.60}")
    if known["format"] != _FORMAT:
        raise InputError(
            f"{path} has format {known['format']}; this version reads {_FORMAT}: build the engine "
            "again with segnet-build"
        )
    return known


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged: {why}; build the engine again with segnet-build")


def _release(version: str) -> tuple[int, ...]:
    """Return major, minor and patch: a plan loads in the version that built it."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
