"""The JSON file of a comparison: saved after each step, and resumed by a second call."""

from __future__ import annotations

import json
from pathlib import Path

from segnet_deploy.bench.comparison.settings import ComparisonSettings
from segnet_deploy.bench.result import Comparison, NetworkResult, read_result
from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write
from segnet_deploy.system.machine import describe_machine, now, versions

FILE_NAME = "comparison.json"
_CONSTANT = ("processor", "architecture", "cpus", "system")  # of one machine


class Document:
    """The comparison in `folder`: an earlier one is continued if it was measured the same way.

    Raises InputError if it was not, or if its file cannot be read.
    """

    def __init__(self, folder: Path, settings: ComparisonSettings):
        self.path = folder / FILE_NAME
        self.comparison = Comparison(
            started=now(),
            machine=describe_machine(),
            versions=versions(),
            settings=settings.to_json(),
        )
        if self.path.is_file():
            earlier = self._read()
            self._check(earlier, self.comparison)
            self.comparison = earlier

    @property
    def networks(self) -> list[NetworkResult]:
        """The networks of this call and of earlier ones, in order of their first measurement."""
        return self.comparison.networks

    def network(self, file: Path, sha256: str) -> NetworkResult:
        """Return the result of `file`; a new one if there is none or the file has changed."""
        new = NetworkResult(
            name=file.stem, engine=str(file), sha256=sha256, model_bytes=file.stat().st_size
        )
        for index, network in enumerate(self.networks):
            if Path(network.engine).resolve() == file.resolve():
                if network.sha256 != sha256:
                    self.networks[index] = network = new
                return network
        self.networks.append(new)
        return new

    def save(self) -> None:
        """Write the file. Raises InputError."""
        text = json.dumps(self.comparison.to_json(), indent=1) + "\n"
        atomic_write(self.path, text.encode())

    def _read(self) -> Comparison:
        try:
            result = read_result(self.path)
        except InputError as error:
            raise InputError(f"{error}; or give another -o, or --fresh") from error
        if not isinstance(result, Comparison):
            raise InputError(f"{self.path} is not a comparison; give another -o, or --fresh")
        return result

    def _check(self, earlier: Comparison, current: Comparison) -> None:
        """Raise InputError if settings, versions of the runtimes or the machine differ."""
        old = {key: value for key, value in earlier.settings.items() if key != "ceilings"}
        new = current.settings
        changes = [
            f"{key} {old.get(key)}, now {new.get(key)}"
            for key in {**old, **new}
            if old.get(key) != new.get(key)
        ]
        if changes:
            raise InputError(
                f"{self.path} was measured with other settings ({', '.join(changes)}); give the "
                "same, another -o, or --fresh"
            )
        for name in sorted({n.runtime for n in earlier.networks if n.runtime}):
            before, installed = earlier.versions.get(name), current.versions.get(name)
            if before != installed:
                raise InputError(
                    f"{self.path} was measured with {name} {before}, now "
                    f"{installed or 'not installed'}; give another -o, or --fresh"
                )
        for key in _CONSTANT:
            if earlier.machine.get(key) != current.machine.get(key):
                raise InputError(
                    f"{self.path} was measured on another machine ({earlier.machine.get(key)}); "
                    "give another -o, or --fresh"
                )
