"""64-bit ARM by emulation: the tools, and the files in which Linux describes a processor."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

COMPILER = "aarch64-linux-gnu-g++"
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
PACKAGES = "Debian: g++-aarch64-linux-gnu, qemu-user-static"


def emulator() -> str | None:
    """Return the path of qemu's user-mode emulator, or None."""
    return next(filter(None, map(shutil.which, EMULATORS)), None)


@dataclass(frozen=True)
class Board:
    """A machine as its Linux describes it, and the CPU of qemu that computes the same.

    `model` is that of the device tree; servers have none. `part`, `variant` and `revision` are
    fields of the register MIDR_EL1; the implementer is Arm.
    """

    model: str
    cpu: str
    features: str
    part: int
    variant: int
    revision: int

    def cpuinfo(self, cpus: int) -> str:
        """Return the text of /proc/cpuinfo."""
        fields = (
            "BogoMIPS\t: 108.00",
            f"Features\t: {self.features}",
            "CPU implementer\t: 0x41",
            "CPU architecture: 8",
            f"CPU variant\t: {self.variant:#x}",
            f"CPU part\t: {self.part:#x}",
            f"CPU revision\t: {self.revision}",
        )
        return "".join(f"processor\t: {n}\n" + "\n".join(fields) + "\n\n" for n in range(cpus))

    def write_files(self, root: Path, cpus: int) -> None:
        """Write what runtimes read below `root`.

        ONNX Runtime ends with a segmentation fault without cpuinfo, `possible` and `present`, and
        OpenVINO without `midr_el1`.
        """
        system = root / "sys/devices/system/cpu"
        midr = 0x41 << 24 | self.variant << 20 | 0xF << 16 | self.part << 4 | self.revision
        texts = {root / "proc/cpuinfo": self.cpuinfo(cpus)}
        for name in ("possible", "present"):
            texts[system / name] = f"0-{cpus - 1}\n"
        for number in range(cpus):
            texts[system / f"cpu{number}/regs/identification/midr_el1"] = f"{midr:#018x}\n"
        model = root / "proc/device-tree/model"
        model.unlink(missing_ok=True)
        if self.model:
            texts[model] = f"{self.model}\0"
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


_ARMV8_2 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
_ARMV9 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma "
    "lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb dcpodp "
    "sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svebf16 i8mm bf16 dgh bti"
)
BOARDS = {
    "pi4": Board(
        "Raspberry Pi 4 Model B", "cortex-a72", "fp asimd evtstrm crc32 cpuid", 0xD08, 0, 3
    ),
    "pi5": Board("Raspberry Pi 5 Model B", "cortex-a76", _ARMV8_2, 0xD0B, 4, 1),
    "altra": Board("", "neoverse-n1", f"{_ARMV8_2} ssbs", 0xD0C, 3, 1),
    "grace": Board("", "max", _ARMV9, 0xD4F, 0, 0),  # Neoverse V2; qemu 7.2 has no such CPU
}
