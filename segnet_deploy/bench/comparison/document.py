"""The comparison's JSON: written whole after each step, and resumed by a second call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write
from segnet_deploy.system.machine import describe_machine, now, versions

FORMAT = 1
NAME = "comparison.json"
_STEADY = ("processor", "architecture", "cpus", "system")

Network = dict[str, Any]


class Document:
    """A comparison in `folder`: what is there is kept where it was made the same way."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.path = folder / NAME
        found = _read(self.path) if self.path.is_file() else None
        machine = describe_machine()
        if found is not None:
            self._check(found, settings, machine)
        self.content: dict[str, Any] = found or {
            "kind": "comparison",
            "format": FORMAT,
            "started": now(),
            "machine": machine,
            "versions": versions(),
            "settings": settings,
            "networks": [],
            "verdicts": [],
        }

    @property
    def networks(self) -> list[Network]:
        """The records of this call's files and of earlier calls', in the order they came."""
        networks: list[Network] = self.content["networks"]
        return networks

    def record(self, file: Path, sha256: str) -> Network:
        """Return the record of `file`; one of a file that has changed since is begun anew."""
        for place, network in enumerate(self.networks):
            if Path(network["engine"]).resolve() == file.resolve():
                if network["sha256"] != sha256:
                    self.networks[place] = network = _new(file, sha256)
                return network
        self.networks.append(_new(file, sha256))
        return self.networks[-1]

    def save(self) -> None:
        """Write the file. Raises InputError where that is not possible."""
        atomic_write(self.path, (json.dumps(self.content, indent=1) + "\n").encode())

    def _check(
        self, found: dict[str, Any], settings: dict[str, Any], machine: dict[str, Any]
    ) -> None:
        old = {k: v for k, v in found["settings"].items() if k != "ceilings"}
        changed = [k for k in {**old, **settings} if old.get(k) != settings.get(k)]
        if changed:
            said = ", ".join(f"{k} {old.get(k)}, now {settings.get(k)}" for k in changed)
            raise InputError(
                f"{self.path} was measured with other settings ({said}); give the same, another "
                "-o, or --fresh"
            )
        here = versions()
        for name in sorted({n["runtime"] for n in found["networks"] if n.get("runtime")}):
            if (before := found["versions"].get(name)) != here.get(name):
                raise InputError(
                    f"{self.path} was measured with {name} {before}, now "
                    f"{here.get(name, 'not installed')}; give another -o, or --fresh"
                )
        moved = [k for k in _STEADY if found["machine"].get(k) != machine.get(k)]
        if moved:
            raise InputError(
                f"{self.path} was measured on another machine ({found['machine'].get(moved[0])}); "
                "give another -o, or --fresh"
            )


def _new(file: Path, sha256: str) -> Network:
    return {
        "name": file.stem,
        "engine": str(file),
        "sha256": sha256,
        "model_bytes": file.stat().st_size,
        "paper": None,
        "error": None,
        "seconds": {},
        "samples": {},
        "layers": None,
        "power": None,
        "backward": None,
        "warnings": [],
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give another -o, or --fresh") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no comparison of format {FORMAT}; give another -o, or --fresh")
    return content
