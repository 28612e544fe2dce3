"""The camera loop with scripted sources and engines."""

from __future__ import annotations

import doctest
import importlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import cv2
import numpy as np
import pytest
from sleep_engine import sleeping

import segnet_deploy.camera
from segnet_deploy import EngineError, InputError, MissingDependencyError
from segnet_deploy.camera import STATES, Camera, Result, Status
from segnet_deploy.camera.capture import MAX_DELAY, delays
from segnet_deploy.camera.mailbox import Mailbox
from segnet_deploy.camera.sources.base import PendingFrame, SourceLostError
from segnet_deploy.types import Frame

Part = Frame | Exception | Callable[[], None] | None


class Script:
    """A source that plays a list of parts each time it is opened.

    A part is a frame, an error to raise, a function to call, or None: the end.
    """

    name, errors = "script", 0

    def __init__(self, *openings: Iterable[Part], live: bool = True):
        self.live, self.closed = live, 0
        self._openings = iter(openings)

    def open(self, timeout: float) -> Script:
        parts = next(self._openings, None)
        if parts is None:
            raise SourceLostError("script: no more openings")
        self._parts = iter(parts)
        return self

    def read(self) -> PendingFrame | None:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            if isinstance(part, np.ndarray):
                return lambda part=part: part
            if part is None:
                return None
            part()
        return None

    def close(self) -> None:
        self.closed += 1


class Notes:
    """An output that stores what it receives."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.statuses: list[Status] = []
        self.closed = 0

    def show(self, result: Result) -> None:
        self.results.append(result)

    def report(self, status: Status) -> None:
        self.statuses.append(status)

    def close(self) -> None:
        self.closed += 1


def frame(height: int = 20, width: int = 24, value: int = 90) -> Frame:
    return np.full((height, width, 3), value, np.uint8)


def frames(count: int) -> Iterator[Frame]:
    for value in range(count):
        yield frame(value=value)


def ended(camera: Camera, limit: float = 30.0) -> bool:
    """Close until every thread has ended: each does after its current read or call."""
    end = time.monotonic() + limit
    while not camera.close():
        if time.monotonic() > end:
            return False
    return True


def test_loop_segments_the_newest_frame_and_drops_the_others() -> None:
    captured = threading.Event()
    camera = Camera(
        lambda: sleeping(0, before=lambda: captured.wait(5) and None),
        Script([*frames(9), captured.set], live=False),
    )
    numbers = [result.sequence for result in camera.results()]
    assert numbers[-1] == 8  # the others arrived while the first was in the engine
    assert len(numbers) <= 3
    assert camera.status().dropped == 9 - len(numbers)


def test_loop_shows_every_frame_of_a_file_in_order() -> None:
    notes = Notes()
    camera = Camera(lambda: sleeping(0.001), Script(frames(30), live=False), every_frame=True)
    camera.outputs.append(notes)
    for result in camera.results():
        assert (result.frame == result.sequence).all()
        assert np.array_equal(result.labels, result.frame[..., 1] >> 6)
        assert result.age >= 0
    assert [r.sequence for r in notes.results] == list(range(30))
    assert notes.closed == 1
    assert camera.status().dropped == 0


def test_every_frame_of_a_live_source_is_refused() -> None:
    with pytest.raises(InputError, match="live"):
        Camera(lambda: sleeping(0), Script(), every_frame=True)


def test_lost_source_is_opened_again() -> None:
    lost = SourceLostError("unplugged")
    source = Script([frame(), lost], *[[lost]] * 3, [frame(), lambda: time.sleep(0.3), None])
    notes, camera = Notes(), Camera(lambda: sleeping(0), source)
    camera.outputs.append(notes)
    assert [result.sequence for result in islice(camera.results(), 2)] == [0, 1]
    status = camera.status()
    assert (status.captured, status.reconnects, status.errors) == (2, 1, 4)
    assert notes.closed == 1
    assert ended(camera)
    assert source.closed == 5
    states = [status.state for status in notes.statuses]
    assert states[0] == "connecting"
    assert "reconnecting" in states
    assert set(states) <= set(STATES)


def test_silent_source_is_stalled_then_reconnecting() -> None:
    silent, seen = threading.Event(), []

    def fall_silent() -> None:
        while "stalled" not in seen:
            time.sleep(0.01)
        raise SourceLostError("silent")

    source = Script([frame(), fall_silent], [lambda: silent.wait(5) and None, frame()])
    camera = Camera(lambda: sleeping(0), source, stall_timeout=0.2)

    class Watcher(Notes):
        def report(self, status: Status) -> None:
            seen.append(status.state)
            if status.state == "reconnecting":
                silent.set()

    camera.outputs.append(Watcher())
    assert len(list(islice(camera.results(), 2))) == 2
    order = [seen.index(state) for state in ("stalled", "reconnecting")]
    assert order == sorted(order)


def test_pauses_double_up_to_a_cap_and_differ() -> None:
    pauses = list(islice(delays(random.Random(1)), 12))
    assert max(pauses) <= MAX_DELAY == 1.5
    assert min(pauses[5:]) >= MAX_DELAY / 2
    assert len(set(pauses[5:])) > 1
    assert pauses[0] <= 0.1


def test_file_that_cannot_be_decoded_is_an_error() -> None:
    notes = Notes()
    camera = Camera(lambda: sleeping(0), Script([SourceLostError("broken")], live=False))
    camera.outputs.append(notes)
    with pytest.raises(InputError, match="broken"):
        list(camera.results())
    assert notes.closed == 1


def test_unexpected_driver_error_reopens_a_live_source_and_ends_a_file() -> None:
    live = Camera(lambda: sleeping(0), Script([ValueError("odd driver")], [frame()]))
    assert [result.sequence for result in islice(live.results(), 1)] == [0]
    file = Camera(lambda: sleeping(0), Script([ValueError("odd driver")], live=False))
    with pytest.raises(InputError, match="odd driver"):
        list(file.results())


def test_missing_library_ends_the_loop() -> None:
    class Missing(Script):
        def open(self, timeout: float) -> Script:
            raise MissingDependencyError("no GStreamer here")

    with pytest.raises(MissingDependencyError, match="GStreamer"):
        list(Camera(lambda: sleeping(0), Missing()).results())


def failing(*bad_calls: int) -> Callable[[], None]:
    calls = iter(range(100))

    def step() -> None:
        if next(calls) in bad_calls:
            raise RuntimeError("engine out of memory")

    return step


def test_engine_is_restarted_once() -> None:
    step, loads = failing(1), []

    def load() -> object:
        loads.append(1)
        return sleeping(0, step)

    camera = Camera(load, Script(frames(5), live=False), every_frame=True)
    assert [result.sequence for result in camera.results()] == [0, 2, 3, 4]
    assert len(loads) == 2
    assert camera.status().engine_restarts == 1


def test_engine_that_fails_again_ends_the_loop() -> None:
    notes, step = Notes(), failing(1, 3)
    source = Script(frames(9), live=False)
    camera = Camera(lambda: sleeping(0, step), source, every_frame=True)
    camera.outputs.append(notes)
    with pytest.raises(EngineError, match="out of memory"):
        list(camera.results())
    assert [result.sequence for result in notes.results] == [0, 2]
    assert notes.closed == 1
    assert ended(camera)


def test_stale_results_are_not_shown() -> None:
    now = [100.0]

    def slow_once() -> None:
        now[0] = 110.0

    def until_stale() -> None:
        while not camera.status().stale:
            time.sleep(0.005)

    source = Script([frame(), until_stale, frame()], live=False)
    camera = Camera(lambda: sleeping(0, slow_once), source, max_age=6, clock=lambda: now[0])
    assert [result.sequence for result in camera.results()] == [1]
    assert (camera.status().stale, camera.status().shown) == (1, 1)


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_clock_jumps_are_harmless(jump: float) -> None:
    shift = [0.0]

    def leap() -> None:
        shift[0] = jump

    source = Script([*frames(3), leap, *frames(3)], live=False)
    notes = Notes()
    camera = Camera(
        lambda: sleeping(0), source, every_frame=True, clock=lambda: time.monotonic() + shift[0]
    )
    camera.outputs.append(notes)
    results = list(camera.results())
    assert len(results) == 6
    assert all(result.age >= 0 for result in results)
    assert all(s.uptime >= 0 and s.inferring >= 0 for s in notes.statuses)


def test_resized_and_damaged_frames_do_not_end_the_loop() -> None:
    def damaged() -> Frame:
        raise cv2.error("half a picture")

    class Damaged(Script):
        def read(self) -> PendingFrame | None:
            pending = super().read()
            return damaged if pending is not None and pending().shape[0] == 1 else pending

    source = Damaged([frame(20, 24), frame(1, 1), frame(31, 17)], live=False)
    camera = Camera(lambda: sleeping(0), source, every_frame=True)
    assert [result.labels.shape for result in camera.results()] == [(20, 24), (31, 17)]
    assert camera.status().errors == 1


def test_leaving_the_loop_ends_threads_and_outputs() -> None:
    before, notes = threading.active_count(), Notes()
    with Camera(lambda: sleeping(0.001), "synthetic") as camera:
        camera.outputs.append(notes)
        for _ in camera.results():
            break
    assert notes.closed == 1
    assert notes.statuses[-1].state in STATES
    assert ended(camera)
    assert threading.active_count() == before


def endless() -> Iterator[Part]:
    while True:
        yield frame()
        yield lambda: time.sleep(0.01)


def test_stop_from_another_thread() -> None:
    camera = Camera(lambda: sleeping(0.001), Script(endless()))

    class Stopper(Notes):
        def show(self, result: Result) -> None:
            threading.Thread(target=camera.stop).start()

    camera.outputs.append(Stopper())
    assert len(list(camera.results())) >= 1
    assert camera.status().state == "ended"


def test_duration_ends_the_loop() -> None:
    camera = Camera(lambda: sleeping(0.001), Script(endless()), duration=0.5)
    list(camera.results())
    assert camera.status().uptime >= 0.5
    assert ended(camera)


def test_mailbox_keeps_the_newest_or_waits() -> None:
    box: Mailbox[int] = Mailbox()
    assert [box.put(n) for n in range(3)] == [False, True, True]
    assert box.take() == 2
    assert box.take(0.01) is None
    box.put(7)
    box.close()
    assert (box.take(), box.finished) == (7, True)
    assert box.put(8)


def test_public_names_are_importable() -> None:
    names = segnet_deploy.camera.__all__
    assert {"Camera", "Output", "Result", "Status", "add_outputs", "find_source"} <= set(names)
    assert all(getattr(segnet_deploy.camera, name) is not None for name in names)


@pytest.mark.parametrize("module", ["result", "outputs.base", "sources.base", "sources.find"])
def test_examples_in_docstrings_run(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"segnet_deploy.camera.{module}"))
    assert outcome.attempted
    assert not outcome.failed
