"""What the parity gate found, as a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateRow:
    """The comparison for one input in one runtime."""

    runtime: str
    input: str
    shape: tuple[int, ...]
    agreement: float
    delta: float
    delta_given_indices: float
    flips: tuple[int, ...]
    windows: tuple[int, ...]
    largest_gap: float
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateReport:
    """Every row; `passed` where none has a failure."""

    rows: tuple[GateRow, ...]

    @property
    def passed(self) -> bool:
        return not any(row.failures for row in self.rows)

    def joined(self, other: GateReport) -> GateReport:
        """Return both reports as one."""
        return GateReport(self.rows + other.rows)

    def __str__(self) -> str:
        head = (
            f"{'runtime':12}{'input':22}{'shape':>16}  {'labels':>9}  {'max|d|':>8}  "
            f"{'given idx':>9}  flips per stage (of windows)"
        )
        return "\n".join([head, *(_line(row) for row in self.rows)])


def _line(row: GateRow) -> str:
    shape = "x".join(map(str, row.shape))
    flips = " ".join(f"{f}/{w}" for f, w in zip(row.flips, row.windows, strict=True)) or "-"
    line = (
        f"{row.runtime:12}{row.input:22}{shape:>16}  {row.agreement:9.4%}  {row.delta:8.1e}  "
        f"{row.delta_given_indices:9.1e}  {flips}"
    )
    return line + "".join(f"\n    FAILED: {failure}" for failure in row.failures)
