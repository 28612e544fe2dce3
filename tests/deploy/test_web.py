"""The camera's web server with real clients: pictures, viewers, metrics, health."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from typing import Any

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from pages import CLASSES, PALETTE, get, result, running, status, watch
from prometheus_client.parser import text_string_to_metric_families

from segnet_deploy.camera.web.picture_message import MAX_WIDTH_PX, encode_picture
from segnet_deploy.results.run_lengths import find_runs


def read_picture(message: bytes) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return header, labels and frame of a message, decoded independently of the encoder."""
    (size,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + size])
    runs = header["runs"]
    lengths = np.frombuffer(message, "<u2", runs, 4 + size)
    ids = np.frombuffer(message, np.uint8, runs, 4 + size + 2 * runs)
    labels = np.repeat(ids, lengths).reshape(header["height"], header["width"])
    jpeg = np.frombuffer(message, np.uint8, offset=4 + size + 3 * runs)
    return header, labels, cv2.imdecode(jpeg, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (33, 47), (2, 65535)])
@pytest.mark.parametrize("classes", [1, 2, 256])
def test_runs_of_a_picture_decode_to_the_labels(shape: tuple[int, int], classes: int) -> None:
    labels = np.random.default_rng(0).integers(0, classes, shape, dtype=np.uint8)
    ids, lengths = find_runs(labels, split_rows=True)
    np.testing.assert_array_equal(np.repeat(ids, lengths).reshape(shape), labels)


def test_picture_contains_frame_and_exact_labels() -> None:
    shown = result(3)
    smooth = cv2.blur(shown.frame, (9, 9))  # JPEG distorts noise
    header, labels, frame = read_picture(encode_picture(smooth, shown.labels, {"sequence": 3}))
    assert header["sequence"] == 3
    np.testing.assert_array_equal(labels, shown.labels)
    assert np.abs(frame.astype(int) - smooth).mean() < 3


def test_wide_picture_is_scaled_down() -> None:
    shown = result(0, 90, 2 * MAX_WIDTH_PX)
    header, labels, frame = read_picture(encode_picture(shown.frame, shown.labels, {}))
    assert (header["width"], header["height"]) == (MAX_WIDTH_PX, 45)
    assert labels.shape == frame.shape[:2] == (45, MAX_WIDTH_PX)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_viewer_gets_hello_then_one_picture_per_request() -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        hello = json.loads(await viewer.receive_str(timeout=5))
        with pytest.raises(asyncio.TimeoutError):
            await viewer.receive(timeout=0.2)  # nothing without a request
        await viewer.send_str("next")
        return hello, await viewer.receive_bytes(timeout=5)

    with running() as page:
        hello, picture = watch(page, act)
    assert [entry["name"] for entry in hello["classes"]] == list(CLASSES)
    assert [tuple(entry["colour"]) for entry in hello["classes"]] == list(PALETTE)
    assert hello["status"]["state"] == "live"
    assert "secret" not in hello["status"]["source"]
    np.testing.assert_array_equal(read_picture(picture)[1], result().labels)


def test_viewer_that_pauses_gets_the_newest_picture() -> None:
    async def act(viewer: ClientWebSocketResponse) -> list[int]:
        sequences = []
        for number in range(40):
            page.show(result(number))
            if number in (0, 39):
                await viewer.send_str("next")
                while (message := await viewer.receive(timeout=5)).type is not WSMsgType.BINARY:
                    pass
                sequences.append(read_picture(message.data)[0]["sequence"])
        return sequences

    with running() as page:
        assert watch(page, act) == [0, 39]


def test_status_reaches_viewers_and_their_plots() -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        hello = json.loads(await viewer.receive_str(timeout=5))
        page.report(status("stalled", rss_bytes=1000))
        return hello, json.loads(await viewer.receive_str(timeout=5))

    with running() as page:
        page.report(status(frames_per_second=float("nan")))
        hello, message = watch(page, act)
    assert [sample[0] for sample in hello["history"]] == [0.0, None]
    assert message["type"] == "status"
    assert message["status"]["state"] == "stalled"
    assert message["status"]["rss_bytes"] == 1000


@pytest.mark.parametrize("text", ["next next", "x" * 200, "x" * 2000])
def test_viewer_that_sends_anything_else_is_disconnected(text: str) -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        await viewer.receive_str(timeout=5)
        await viewer.send_str(text)
        await viewer.receive(timeout=5)
        return viewer.close_code

    with running() as page:
        assert watch(page, act) in (1008, 1009)


def test_viewer_that_requests_too_often_is_disconnected() -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        for _ in range(50):
            await viewer.send_str("next")
        while not viewer.closed:
            await viewer.receive(timeout=5)
        return viewer.close_code

    with running() as page:
        assert watch(page, act) == 1008


def test_viewer_above_the_limit_gets_the_reason() -> None:
    async def connect() -> tuple[Any, int | None]:
        async with ClientSession() as session:
            first = await session.ws_connect(page.url + "live")
            await first.receive_str(timeout=5)
            second = await session.ws_connect(page.url + "live")
            refusal = await second.receive(timeout=5)
            return refusal.extra, second.close_code

    with running(viewers=1) as page:
        reason, code = asyncio.run(connect())
    assert code == 1013
    assert "1 viewers are connected" in reason


def test_nothing_is_encoded_without_viewers() -> None:
    with running() as page:
        for number in range(50):
            page.show(result(number))
        assert "segnet_camera_web_pictures_total 0.0" in get(page, "metrics")[2]


def test_metrics_are_valid_prometheus_text() -> None:
    with running() as page:
        page.report(status("reconnecting", captured=7, age=0.25, rss_bytes=None))
        code, headers, text = get(page, "metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert code == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert all(name.startswith("segnet_camera_") for name in families)
    captured = families["segnet_camera_frames_captured"]
    assert (captured.type, captured.samples[0].value) == ("counter", 7.0)
    assert families["segnet_camera_age_seconds"].samples[0].value == 0.25
    states = {s.labels["state"]: s.value for s in families["segnet_camera_state"].samples}
    assert states.pop("reconnecting") == 1
    assert not any(states.values())
    assert "secret" not in text


@pytest.mark.parametrize(
    ("state", "code"), [("live", 200), ("connecting", 503), ("stalled", 503), ("reconnecting", 503)]
)
def test_health_follows_the_state(state: str, code: int) -> None:
    with running() as page:
        page.report(status(state))
        answered, _, text = get(page, "healthz")
    assert answered == code
    assert json.loads(text)["state"] == state


def test_silent_loop_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segnet_deploy.camera.web.telemetry._MAX_SILENCE", 0.05)
    with running() as page:
        time.sleep(0.1)
        code, _, text = get(page, "healthz")
    assert code == 503
    assert json.loads(text)["responds"] is False
