"""The runtime that segnet-tune chose for a file, recorded in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from segnet_deploy.metadata import PREFIX

KEY = PREFIX + "tuned"


@dataclass(frozen=True)
class TunedChoice:
    """The runtime, threads (None: the runtime's choice) and precision, and where they were chosen.

    It holds on machines of the same `processor`, `architecture` and number of usable `cpus`.
    """

    runtime: str
    threads: int | None
    precision: str
    processor: str
    architecture: str
    cpus: int

    def to_props(self) -> dict[str, str]:
        """Return the entry for an ONNX file's metadata_props."""
        return {KEY: json.dumps(asdict(self))}

    @property
    def suits_this_machine(self) -> bool:
        """Whether it was made on a machine like this one."""
        from segnet_deploy.system.machine import describe_machine

        machine = describe_machine()
        here = [machine.get(name) for name in ("processor", "architecture", "cpus")]
        known = [self.processor, self.architecture, self.cpus]
        return here == known


def read_choice(props: Mapping[str, str], precision: str) -> TunedChoice | None:
    """Return the choice recorded in metadata_props if it holds here, else None.

    It holds for a file that still has the `precision` it was made for, on a machine of its kind.
    """
    try:
        content = json.loads(props.get(KEY, "null"))
        values = {field.name: content[field.name] for field in fields(TunedChoice)}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = ("runtime", "precision", "processor", "architecture")
    threads = values["threads"]
    if not all(isinstance(values[name], str) for name in texts):
        return None
    if not (threads is None or (isinstance(threads, int) and threads > 0)):
        return None
    choice = TunedChoice(**values)
    return choice if choice.precision == precision and choice.suits_this_machine else None
