"""The report from a real measurement, opened from disk in a real Chromium."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import browser
import pytest
from documents import validated

from segnet_deploy.bench.graph_cost import dense_work
from segnet_deploy.bench.report import report_file, write_report
from segnet_deploy.bench.report.figures import NAMES
from segnet_deploy.bench.report.formatting import format_bytes, format_seconds, network_labels
from segnet_deploy.bench.report.svg import ticks
from segnet_deploy.bench.result import Comparison, NetworkResult, RunResult, read_result
from segnet_deploy.bench.run_model import find_paper_row
from segnet_deploy.bench.run_table import format_run
from segnet_deploy.cli import bench
from segnet_deploy.metadata import Metadata


@pytest.fixture(scope="module")
def result(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the JSON of `segnet-bench --layers --power` on a small network."""
    path = tmp_path_factory.mktemp("bench") / "result.json"
    arguments = ["--engine", str(small_model), "--runtime", "onnxruntime", "--runs", "12"]
    assert bench.main([*arguments, "--layers", "--power", "--json", str(path)]) == 0
    validated(json.loads(path.read_text()))
    return path


@pytest.fixture(scope="module")
def comparison(result: Path, small_model: Path) -> Comparison:
    """Return a comparison of two networks, from the figures of one real measurement."""
    run = read_result(result)
    assert isinstance(run, RunResult)
    one, work, networks = run.as_comparison().to_json(), dense_work(small_model), []
    assert work
    for name, factor in (("SegNet", 1.0), ("DeconvNet", 1.5)):
        network = copy.deepcopy(one["networks"][0])
        infer = network["seconds"]["infer"]
        infer |= {key: value * factor for key, value in infer.items() if key != "outliers"}
        # One run took eleven times as long: a label at the very edge.
        samples = [s * factor for s in network["samples"]["infer"]]
        network["samples"]["infer"] = [*samples, 11.4 * infer["median"]]
        timeline = [[0.0, 30e6], [0.2, 90e6], [0.5, network["peak_bytes"]]]
        extra = {
            "name": name,
            "paper": None,
            "gmac": work.macs / 1e9,
            "memory_timeline": timeline,
        }
        networks.append(network | extra | {"traffic_bytes": work.traffic_bytes})
    verdict = {
        "claim": "SegNet is faster than <DeconvNet>",
        "verdict": "holds",
        "figures": "a | b",
        "ratio": 1.5,
        "paper_ratio": 1.12,
        "note": "",
    }
    ceilings = {"macs_per_second": 5e10, "bytes_per_second": 1e10}
    settings = {"threads": 1, "size": [45, 61], "ceilings": ceilings}
    changes = {"networks": networks, "verdicts": [verdict], "settings": settings}
    return Comparison.from_json(one | changes)


def test_report_of_a_single_result_needs_only_its_json(result: Path, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in report_file(result, tmp_path / "a")}
    after = {p.name: p.read_bytes() for p in report_file(result, tmp_path / "b")}
    assert before == after
    text = before["report.md"].decode()
    infer = json.loads(result.read_text())["seconds"]["infer"]["median"]
    assert format_seconds(infer) in text
    assert "energy per frame is unknown" in text or " J |" in text
    for name in re.findall(r"\]\((\S+\.svg)\)", text):
        ElementTree.parse(tmp_path / "a" / name)  # well-formed, so it opens as a file


@pytest.mark.parametrize(
    ("network", "row"),
    [("", "SegNet"), ("deeplab-largefov", "DeepLab-LargeFOV"), ("segnet-basic", None)],
)
def test_only_the_networks_own_row_of_the_paper_stands_beside_it(
    network: str, row: str | None, result: Path, small_model: Path, tmp_path: Path
) -> None:
    run = RunResult.from_json(json.loads(result.read_text()))
    run.paper = find_paper_row(small_model, Metadata(network=network))
    assert (run.paper.network if run.paper else None) == row
    assert ("paper, Table 6" in format_run(run)) == (row is not None)
    (tmp_path / "result.json").write_text(json.dumps(run.to_json()))
    report = report_file(tmp_path / "result.json", tmp_path)[1].read_text()
    assert ("paper" in report.lower()) == (row is not None)


def test_report_shows_every_plot_and_verdict(comparison: Comparison, tmp_path: Path) -> None:
    page, text = write_report(comparison, tmp_path)
    html = page.read_text()
    assert [n for n in NAMES if f'id="{n}"' not in html] == []
    assert {p.stem for p in (tmp_path / "plots").iterdir()} == set(NAMES)
    assert "faster than &lt;DeconvNet&gt;" in html
    assert "a \\| b" in text.read_text()
    for words in ("422 ms", "475 ms", "1.50x", "1.12x", "1872 MB"):
        assert words in html
    svg = re.findall(r'<svg[^>]* aria-label="([^"]*)"', html)
    assert len(svg) == len(NAMES)
    assert all(len(label) > 40 for label in svg)


def test_report_refers_to_nothing_outside_itself(comparison: Comparison, tmp_path: Path) -> None:
    html = write_report(comparison, tmp_path)[0].read_text()
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.extend(v or "" for k, v in attrs if k in ("src", "href", "srcset", "action"))
            assert tag not in ("script", "iframe", "object")

    Links().feed(html)
    assert links == ["data:,"]
    assert "url(" not in html
    assert "@import" not in html


# The table scrolled to its end: its edges, those of its card, of the names and of the last column.
TABLE = """(() => {
  const scroll = document.querySelector('.scroll');
  const box = element => element.getBoundingClientRect();
  const scrolls = scroll.scrollWidth > scroll.clientWidth;
  scroll.scrollLeft = scroll.scrollWidth;
  return {
    left: box(scroll).left, right: box(scroll).right, scrolls,
    card: [box(scroll.closest('.card')).left, box(scroll.closest('.card')).right],
    names: [...scroll.querySelectorAll('th:first-child')].map(cell => box(cell).left),
    last: box(scroll.querySelector('tr > :last-child')).right,
  };
})()"""


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("size", [(1180, 900), (375, 800)])
def test_report_opens_from_disk_in_a_browser(
    comparison: Comparison, size: tuple[int, int], tmp_path: Path
) -> None:
    page = write_report(comparison, tmp_path)[0]
    with browser.Browser() as chromium:
        chromium.resize(*size)
        pictures = []
        for dark in (False, True):
            chromium.dark(dark)
            chromium.open(page.as_uri())
            pictures.append(tmp_path / f"dark-{dark}.png")
            chromium.screenshot(pictures[-1])
            assert chromium.requests == [page.as_uri()]
            assert chromium.complaints == []
        boxes = chromium.evaluate(
            "[...document.querySelectorAll('figure svg')].map(s => {"
            "const b = s.getBoundingClientRect(); return [b.left, b.width, b.height, b.right]})"
        )
        outside = chromium.evaluate(
            "[...document.querySelectorAll('figure svg')].flatMap(s => {"
            "const box = s.getBoundingClientRect();"
            "return [...s.querySelectorAll('text')].filter(t => {"
            "const b = t.getBoundingClientRect();"
            "return b.right > box.right + 1 || b.left < box.left - 1}).map(t => t.textContent)})"
        )
        overflow = chromium.evaluate("document.documentElement.scrollWidth - innerWidth")
        table = chromium.evaluate(TABLE)
    assert len(boxes) == len(NAMES)
    assert all(left >= 0 and right <= size[0] for left, _, _, right in boxes)
    assert all(width > 250 and height > 50 for _, width, height, _ in boxes)
    assert outside == []
    assert overflow == 0
    assert table["left"] >= table["card"][0]
    assert table["right"] <= table["card"][1]
    assert table["scrolls"] == (size[0] < 500)
    assert [round(left) for left in table["names"]] == [round(table["left"])] * len(table["names"])
    assert table["last"] <= table["right"] + 1
    light, dark = (_picture(path) for path in pictures)
    assert light.shape[:2] == dark.shape[:2]
    assert light.mean() > 200 > 60 > dark.mean()
    for picture in (light, dark):  # the blue of the bars
        assert (picture[..., 0].astype(int) - picture[..., 2] > 100).sum() > 500


def _picture(path: Path) -> Any:
    import cv2

    return cv2.imread(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "not a result of segnet-bench"),
        ("[]", "not a result of segnet-bench"),
        ("{", "not valid JSON"),
        ('{"kind": "comparison", "format": 99, "networks": []}', "format 99"),
        ('{"kind": "comparison", "format": 1, "networks": []}', "no network was measured"),
    ],
)
def test_report_of_another_file_is_one_line(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "x.json", tmp_path / "out"
    path.write_text(text)
    assert bench.main(["--report", str(path), "-o", str(out)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert words in error
    assert "\n" not in error
    assert not out.exists()


def test_report_of_a_missing_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--report", "missing.json"]) == 1
    assert "missing.json" in capsys.readouterr().err


def test_quantities_have_three_digits() -> None:
    assert [format_seconds(s) for s in (0.00123, 0.0123, 0.123, 1.23)] == [
        "1.23 ms",
        "12.3 ms",
        "123 ms",
        "1.23 s",
    ]
    assert format_bytes(1_900_000) == "1.9 MB"
    pairs = (("a", "x"), ("a", "y"), ("b", None))
    networks = [NetworkResult(name=name, runtime=runtime) for name, runtime in pairs]
    assert network_labels([*networks, networks[0]]) == ["a (x)", "a (y)", "b", "a (x) #2"]


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(-7, 7, 6) == [-5, -2.5, 0, 2.5, 5]
    assert ticks(3, 3) == [3]


def test_report_names_networks_that_were_not_measured(
    comparison: Comparison, tmp_path: Path
) -> None:
    failed = {"name": "U-Net", "seconds": None, "error": "out of memory"}
    content = comparison.to_json()
    content["networks"].append(failed)
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps(content))
    for written in report_file(path, tmp_path):
        text = written.read_text()
        assert "U-Net was not measured: out of memory" in text
        assert text.count("U-Net") == 1


def test_report_of_a_bare_comparison_leaves_drawings_out(
    comparison: Comparison, tmp_path: Path
) -> None:
    network = {"name": "a", "seconds": {"infer": {"median": 0.1}}}
    write_report(comparison, tmp_path)
    (tmp_path / "plots" / "mine.svg").write_text("<svg/>")
    bare = {"kind": "comparison", "format": 1, "networks": [network]}
    html = write_report(Comparison.from_json(bare), tmp_path)[0].read_text()
    assert re.findall(r'<figure class="card" id="([^"]+)"', html) == ["time"]
    assert "100 ms" in html
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"time.svg", "mine.svg"}
