"""The blocks of code of README and docs, and a folder in which they run.

A block whose first line is a comment `# needs ...` is not run: it needs a GPU, a camera, the
internet or more time than a test has.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LANGUAGES = {"console", "python", "text", "toml", "yaml", "ini", "json", "cpp", "sh", "dockerfile"}
_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language and its text."""

    path: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def needs(self) -> str:
        """What the block needs to run, from its first line; empty if nothing."""
        found = re.match(r"# needs (.+)", self.text)
        return found[1] if found else ""

    @property
    def commands(self) -> list[str]:
        """The commands of a session: what follows `$ `, with its continued lines."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def pages() -> list[Path]:
    """Return README and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(*languages: str) -> list[Block]:
    """Return the blocks in these languages, without the directives of the site; all if none."""
    return [
        block
        for page in pages()
        for block in _blocks_of(page)
        if (block.language in languages if languages else not block.language.startswith("{"))
    ]


def segnet_commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each segnet command of a session."""
    for command in block.commands:
        for part in re.split(r"\s&&\s", command.split("  #")[0]):
            words = shlex.split(re.sub(r'"\$\(.*?\)"', "x" * 32, part), comments=True)
            if words and words[0].startswith("segnet-"):
                yield words


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found[2].strip(), re.sub(rf"(?m)^{found[1]}", "", found[3]))


def fill_folder(folder: Path, model: Path, size: tuple[int, int] = (45, 61)) -> None:
    """Write what the blocks name: model.pt, segnet.onnx, images/, drive.mp4, camvid/, net.*."""
    import shutil

    import caffe_nets
    import caffe_schema
    import cv2
    import numpy as np
    import videos

    from segnet_deploy.passes.lower_unpooling import lower_unpooling
    from segnet_deploy.runtimes.model_file import load_model, save_model
    from segnet_deploy.scenes import draw_scene

    for name in ("a", "b", "segnet"):
        shutil.copy(model, folder / f"{name}.onnx")
    save_model(lower_unpooling(load_model(model)).model, folder / "lowered.onnx")
    for name in ("images", "out/demo/frames", "camvid/val", "camvid/valannot"):
        (folder / name).mkdir(parents=True)
    for seed in range(3):
        scene = draw_scene(100_000 + seed, *size)
        for name in ("images", "out/demo/frames"):
            cv2.imwrite(str(folder / f"{name}/{seed}.png"), scene.frame)
        cv2.imwrite(str(folder / f"camvid/val/{seed}.png"), scene.frame)
        labels = np.minimum(scene.labels, 10)
        cv2.imwrite(str(folder / f"camvid/valannot/{seed}.png"), labels)
    text = caffe_nets.NETS["segnet"].replace("num_output: 5", "num_output: 11")
    weights = caffe_nets.seeded(text, (1, 3, 13, 18))
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(caffe_schema.caffemodel(weights))
    videos.write(folder / "drive.mp4", videos.noisy(3))
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")


def names() -> dict[str, Any]:
    """Return the names that blocks of Python use without defining them."""
    import torch
    from small_segnet import small

    from segnet_deploy.scenes import draw_scene

    return {
        "__name__": "block",
        "frame": draw_scene(1, 45, 61).frame,
        "module": small(),
        "example": torch.zeros(1, 3, 45, 61),
    }
