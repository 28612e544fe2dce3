"""How long a search will still take: the accuracy of a candidate takes far longer than its time."""

from __future__ import annotations

from dataclasses import dataclass, field

JUDGEMENTS = 3  # of a race: the reference and two rivals
FRAME_FACTOR = 1.5  # seconds of a judged frame per second of inference: reading and comparing it


@dataclass
class TimeLeft:
    """Estimates from the steps so far, in seconds."""

    frames: int
    judgements: int = JUDGEMENTS
    short: list[float] = field(default_factory=list)  # steps that judge nothing
    judged: list[float] = field(default_factory=list)
    _running: tuple[float, bool] | None = None  # the start of a step, and whether it judges

    @property
    def coming(self) -> int:
        """Judgements still to come."""
        return max(0, self.judgements - len(self.judged))

    def start_step(self, now: float, judges: bool) -> None:
        """Note that a step begins at `now`, in seconds, and that the one before has ended."""
        if self._running is not None:
            began, judged = self._running
            (self.judged if judged else self.short).append(now - began)
        self._running = now, judges

    def estimate(self, short_steps: int, inference: float | None) -> float | None:
        """Return the seconds that `short_steps` and the judgements still to come will take.

        `inference` is the reference's time per frame, None before it is known. Returns None as
        long as nothing tells how long a judgement takes.
        """
        if self.judged:
            judgement = sum(self.judged) / len(self.judged)
        elif inference is not None:
            judgement = FRAME_FACTOR * inference * self.frames
        else:
            return None
        step = sum(self.short) / len(self.short) if self.short else 0.0
        return step * short_steps + judgement * self.coming
