"""The result of the parity gate, and its table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OutputDelta:
    """The comparison of one further output, which holds values and not labels.

    `delta_given_indices` is as in GateRow; `kept` is how much of PyTorch's values the file keeps
    (segnet_deploy.accuracy.agreement.share_kept).
    """

    name: str
    delta_given_indices: float
    kept: float


@dataclass(frozen=True)
class GateRow:
    """The comparison of the file with PyTorch on one input in one runtime.

    `agreement` is the share of equal labels, 0 to 1. `delta` is the largest difference of a logit
    and `delta_given_indices` the same with the file's indices in PyTorch's decoder; NaN if not
    compared. `flips` and `windows` count differing indices and all windows by stage; `largest_gap`
    is the largest difference of the values at two differing indices, as a share of the stage's
    largest magnitude. `outputs` are the others than the label output. `rounding` is the largest
    error of PyTorch's own values against float64, if the file exceeds the fixed limits. `failures`
    states each rule that failed.
    """

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
    outputs: tuple[OutputDelta, ...] = ()
    rounding: float = 0.0


@dataclass(frozen=True)
class GateReport:
    """Every row of the gate; `str()` returns the table that `segnet-export` prints.

    >>> row = GateRow("onnxruntime", "natural", (1, 3, 32, 48), 1.0, 0.2, 3e-6, (1,), (1536,), 1e-7)
    >>> GateReport((row,)).passed
    True
    """

    rows: tuple[GateRow, ...]

    @property
    def passed(self) -> bool:
        """Whether no row has a failure."""
        return not self.failed

    @property
    def failed(self) -> tuple[GateRow, ...]:
        """The rows that have a failure."""
        return tuple(row for row in self.rows if row.failures)

    def joined(self, other: GateReport) -> GateReport:
        """Return a report with the rows of both."""
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
    for output in row.outputs:
        line += (
            f"\n    output {output.name}: values kept {output.kept:.4%}, given the indices "
            f"{output.delta_given_indices:.1e}"
        )
    if row.rounding:
        line += (
            f"\n    compared with float64, from which PyTorch itself differs by {row.rounding:.1e}"
        )
    return line + "".join(f"\n    FAILED: {failure}" for failure in row.failures)
