"""Peak resident memory of one ONNX file in one runtime, in this fresh process, without torch.

python benchmarks/peak_memory.py FILE RUNTIME THREADS [--operators|--no-operators]
"""

from __future__ import annotations

import argparse

from segnet_deploy import runtimes
from segnet_deploy.bench.timing import peak_rss_bytes
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter

FRAMES = 3


def open_with(file: ModelFile, runtime: str, threads: int, operators: bool | None) -> Engine:
    """Open a file; `operators` as in segnet_deploy.runtimes.onnxruntime.open_file."""
    if runtime != "onnxruntime":
        return runtimes.open(file, runtime, threads)
    from segnet_deploy.runtimes.onnxruntime import open_file

    return open_file(file, threads, operators)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("file")
    parser.add_argument("runtime")
    parser.add_argument("threads", type=int)
    parser.add_argument("--operators", action=argparse.BooleanOptionalAction)
    arguments = parser.parse_args()
    file = ModelFile.read(arguments.file)
    engine = open_with(file, arguments.runtime, arguments.threads, arguments.operators)
    segmenter = Segmenter(engine, Metadata.from_props(file.props))
    height, width = segmenter.size
    frame = draw_scene(0, height or 360, width or 480).frame
    for _ in range(FRAMES):
        segmenter.segment(frame)
    print(peak_rss_bytes())


if __name__ == "__main__":
    main()
