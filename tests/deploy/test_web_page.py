"""The camera's page in a real Chromium: picture, classes, opacity, snapshot, keyboard, phone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Browser
from pages import CLASSES, PALETTE, TOKEN, result, running, showing, status

from segnet_deploy.camera.web.server import WebPage

pytestmark = pytest.mark.needs("chromium")
PIXELS = "Array.from(document.getElementById('picture').getContext('2d').getImageData(%s).data)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def page() -> Iterator[WebPage]:
    with running() as page:
        yield page


def wait_for(browser: Browser, condition: str, seconds: float = 10.0) -> None:
    """Wait until an expression is true."""
    end = time.monotonic() + seconds
    while not browser.evaluate(condition):
        assert time.monotonic() < end, f"still not: {condition}"
        time.sleep(0.02)


def show(browser: Browser, page: WebPage, width: int = 1280, height: int = 900) -> None:
    """Open the page with nothing stored, and wait for its first picture."""
    browser.resize(width, height, mobile=width < 500)
    browser.open(page.url)
    browser.evaluate("localStorage.clear()")
    browser.open(page.url)
    wait_for(browser, "!document.getElementById('snapshot').disabled")


def pixel(browser: Browser, x: int, y: int) -> list[int]:
    rgb: list[int] = browser.evaluate(PIXELS % f"{x}, {y}, 1, 1")[:3]
    return rgb


def picture(browser: Browser) -> list[int]:
    rgba: list[int] = browser.evaluate(PIXELS % "0, 0, 64, 48")
    return rgba


def press(browser: Browser, key: str, code: int, text: str = "") -> None:
    """Press and release a key."""
    for kind in ("keyDown", "keyUp"):
        extra = {"text": text} if text and kind == "keyDown" else {}
        browser.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key=key,
            code="Space" if key == " " else key,
            windowsVirtualKeyCode=code,
            **extra,
        )


def set_opacity(browser: Browser, percent: int) -> None:
    browser.evaluate(
        f"(o => {{ o.value = {percent}; o.dispatchEvent(new Event('input')); }})"
        "(document.getElementById('opacity'))"
    )


def test_picture_is_shown_and_changes(chromium: Browser, page: WebPage) -> None:
    show(chromium, page)
    assert chromium.evaluate("document.title") == "SegNet camera: live"
    assert chromium.evaluate("document.getElementById('state').textContent") == "live"
    assert chromium.evaluate("document.getElementById('notice').textContent") == ""
    first = picture(chromium)
    with showing(page):
        wait_for(chromium, f"JSON.stringify({PIXELS % '0, 0, 64, 48'}) !== '{json.dumps(first)}'")


def test_page_requests_no_other_host_and_logs_nothing(chromium: Browser, page: WebPage) -> None:
    show(chromium, page)
    assert chromium.complaints == []
    assert len(chromium.requests) >= 4
    assert all(url.startswith(page.url) for url in chromium.requests)


def test_colours_match_the_palette_and_classes_can_be_hidden(
    chromium: Browser, page: WebPage
) -> None:
    show(chromium, page)
    set_opacity(chromium, 100)
    assert [pixel(chromium, *at) for at in ((20, 40), (60, 40), (4, 12))] == [
        list(colour) for colour in PALETTE
    ]
    box = "document.querySelectorAll('#legend input')[1]"
    chromium.evaluate(f"{box}.click()")
    frame = pixel(chromium, 60, 40)
    assert frame != list(PALETTE[1])
    assert np.abs(np.subtract(frame, result().frame[40, 60, ::-1].astype(int))).max() < 60
    assert pixel(chromium, 20, 40) == list(PALETTE[0])
    chromium.evaluate("document.getElementById('none').click()")
    assert pixel(chromium, 20, 40) != list(PALETTE[0])
    chromium.evaluate("document.getElementById('all').click()")
    assert chromium.evaluate(f"{box}.checked")
    assert pixel(chromium, 60, 40) == list(PALETTE[1])


def test_opacity_blends_frame_and_colours(chromium: Browser, page: WebPage) -> None:
    show(chromium, page)
    shades = {}
    for percent in (0, 50, 100):
        set_opacity(chromium, percent)
        shades[percent] = np.array(pixel(chromium, 20, 40))
    assert np.abs(shades[50] - (shades[0] + shades[100]) / 2).max() <= 1.5
    assert list(shades[100]) == list(PALETTE[0])
    assert chromium.evaluate("document.getElementById('opacity-value').textContent") == "100 %"


def test_choices_persist_after_a_reload(chromium: Browser, page: WebPage) -> None:
    show(chromium, page)
    set_opacity(chromium, 80)
    chromium.evaluate("document.querySelectorAll('#legend input')[2].click()")
    chromium.open(page.url)
    wait_for(chromium, "!document.getElementById('snapshot').disabled")
    checked = "Array.from(document.querySelectorAll('#legend input'), box => box.checked)"
    assert chromium.evaluate(checked) == [True, True, False]
    assert chromium.evaluate("document.getElementById('opacity').value") == "80"


def test_snapshot_downloads_the_blended_picture(
    chromium: Browser, page: WebPage, tmp_path: Path
) -> None:
    show(chromium, page)
    set_opacity(chromium, 100)
    chromium.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    chromium.evaluate("document.getElementById('snapshot').click()")
    end = time.monotonic() + 10
    while not (saved := list(tmp_path.glob("segnet-*.png"))):
        assert time.monotonic() < end, "nothing was downloaded"
        time.sleep(0.05)
    image = cv2.imread(str(saved[0]))
    assert image.shape == (48, 64, 3)
    assert image[40, 20, ::-1].tolist() == list(PALETTE[0])


def test_state_counters_and_plots_follow_the_loop(chromium: Browser, page: WebPage) -> None:
    show(chromium, page)
    for number in range(22, 25):
        page.report(status(captured=1234, frames_per_second=float(number), rss_bytes=200_000_000))
    wait_for(chromium, "document.querySelector('.plot .now').textContent === '24.0'")
    assert "1,234" in chromium.evaluate("document.getElementById('counters').textContent")
    label = chromium.evaluate("document.querySelector('.plot svg').getAttribute('aria-label')")
    assert label == "Frames per second: now 24.0, from 0.0 to 24.0"
    assert chromium.evaluate("document.querySelector('.curve').getAttribute('d')").count("L") == 3
    for state in ("stalled", "reconnecting", "connecting"):
        page.report(status(state))
        wait_for(chromium, f"document.getElementById('state').dataset.state === '{state}'")
        assert "old" in chromium.evaluate("document.getElementById('notice').textContent")
        assert chromium.evaluate("document.getElementById('frame').dataset.stale") == "true"


def test_page_reconnects_after_a_server_restart(chromium: Browser) -> None:
    with running() as first:
        show(chromium, first)
    wait_for(chromium, "document.getElementById('state').dataset.state === 'offline'")
    address = first.url.removeprefix("http://").strip("/")
    with running(address):
        wait_for(chromium, "document.getElementById('state').dataset.state === 'live'")


def test_token_in_the_address_becomes_a_cookie(chromium: Browser) -> None:
    with running(token=TOKEN) as page:
        chromium.open(page.url)
        assert "a token is required" in chromium.evaluate("document.body.textContent")
        chromium.open(page.url + "?token=" + TOKEN)
        wait_for(chromium, "document.getElementById('state')?.dataset.state === 'live'")
        assert chromium.evaluate("location.href") == page.url
        assert chromium.evaluate("document.cookie") == ""  # HttpOnly
        chromium.open(page.url)
        wait_for(chromium, "!document.getElementById('snapshot').disabled")


def test_every_control_has_a_name_and_works_by_keyboard(chromium: Browser, page: WebPage) -> None:
    show(chromium, page)
    tree = chromium.call("Accessibility.getFullAXTree")["nodes"]

    def names(role: str) -> list[str]:
        return [n["name"]["value"] for n in tree if n.get("role", {}).get("value") == role]

    for name, given in zip(names("checkbox"), CLASSES, strict=True):
        assert name.startswith(given)  # followed by the share of the class
    assert names("slider") == ["Opacity"]
    assert names("button") == ["Save snapshot", "Show all classes", "Hide all classes"]
    assert all(names("image"))
    assert chromium.evaluate("document.documentElement.lang") == "en"
    assert chromium.evaluate("document.querySelectorAll('img:not([alt])').length") == 0

    reached: list[Any] = []
    for _ in range(7):
        press(chromium, "Tab", 9)
        reached.append(chromium.evaluate("document.activeElement.id"))
        if reached[-1] == "opacity":
            press(chromium, "ArrowRight", 39)
    assert reached[:4] == ["opacity", "snapshot", "all", "none"]
    assert chromium.evaluate("document.getElementById('opacity').value") == "51"
    press(chromium, " ", 32, " ")  # the last class
    assert not chromium.evaluate("document.querySelectorAll('#legend input')[2].checked")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert chromium.evaluate(outline) == "solid"


@pytest.mark.parametrize(
    ("width", "height", "dark"),
    [(320, 600, False), (390, 844, True), (1280, 900, False), (1280, 900, True)],
)
def test_page_fits_phone_and_desktop(
    chromium: Browser, page: WebPage, width: int, height: int, dark: bool, tmp_path: Path
) -> None:
    chromium.dark(dark)
    show(chromium, page, width, height)
    for element in ("documentElement", "body"):
        assert chromium.evaluate(f"document.{element}.scrollWidth") <= width
    ground = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) is dark
    assert chromium.evaluate("document.getElementById('picture').clientWidth") > 0.6 * min(
        width, 900
    )
    shot = tmp_path / "page.png"
    chromium.screenshot(shot)
    assert cv2.imread(str(shot)).std() > 10


def test_uncertainty_switch_shows_the_heat_map(chromium: Browser, page: WebPage) -> None:
    switch = "document.getElementById('uncertainty')"
    hidden = "document.getElementById('uncertainty-switch').hidden"
    show(chromium, page)
    assert chromium.evaluate(hidden)  # a file without samples has no uncertainty
    sure = np.zeros((48, 64), np.float32)
    sure[:, 32:] = 2 / 9  # the largest variance of three classes
    page.show(replace(result(), uncertainty=sure))
    wait_for(chromium, f"!{hidden}")
    set_opacity(chromium, 100)
    assert pixel(chromium, 4, 40) == list(PALETTE[0])
    chromium.evaluate(f"{switch}.click()")
    assert pixel(chromium, 4, 40) == [0, 0, 0]
    assert pixel(chromium, 60, 40) == [255, 255, 255]
    chromium.evaluate(f"{switch}.click()")
    assert pixel(chromium, 60, 40) == list(PALETTE[1])
