"""The time that a search still takes, from its steps so far."""

from __future__ import annotations

from segnet_deploy.tuning.time_left import FRAME_FACTOR, TimeLeft


def test_nothing_is_told_before_a_judgement_can_be_estimated() -> None:
    assert TimeLeft(100, short=[2.0, 4.0]).estimate(5, None) is None


def test_judgements_to_come_count_before_the_first_one() -> None:
    left = TimeLeft(100, judgements=3, short=[2.0, 4.0])
    assert left.estimate(5, 0.5) == 5 * 3.0 + 3 * FRAME_FACTOR * 50.0


def test_measured_judgements_replace_the_estimate() -> None:
    left = TimeLeft(100, judgements=3, short=[2.0], judged=[30.0, 50.0])
    assert left.estimate(1, 0.5) == 2.0 + 40.0
    left.judged += [40.0, 40.0]  # more rivals than expected
    assert left.estimate(1, 0.5) == 2.0


def test_steps_count_by_what_they_do_once_they_have_ended() -> None:
    left = TimeLeft(100)
    for now, judges in ((1.0, False), (3.0, True), (33.0, False)):
        left.start_step(now, judges)
    assert (left.short, left.judged, left.coming) == ([2.0], [30.0], 2)
