"""`segnet-camera`: a camera's frames, segmented, as fresh as the engine allows."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.cli.command import run
from segnet_deploy.errors import InputError, UsageError

if TYPE_CHECKING:
    from segnet_deploy.camera.loop import Camera
    from segnet_deploy.camera.result import Output
    from segnet_deploy.camera.sources.base import Source


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    from segnet_deploy.cli.config_file import with_config

    parser = build_parser()
    known = [flag for action in parser._actions for flag in action.option_strings]
    try:
        argv = with_config(sys.argv[1:] if argv is None else argv, known)
    except InputError as error:
        parser.error(str(error))
    return run(parser, watch, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-camera`."""
    parser = argparse.ArgumentParser(
        prog="segnet-camera",
        description="Segment a camera, stream or file, and show, record or serve the newest frame.",
        epilog="exit status: 0 ended or stopped, 1 source or engine failed, 2 wrong usage",
    )
    add = parser.add_argument
    add("--config", metavar="FILE.toml", help="options by their names here; flags go before them")
    add("--engine", required=True, metavar="M.onnx|M.trt")
    add(
        "--source",
        required=True,
        metavar="URI",
        help="/dev/video0, rtsp://, http://, file, folder, csi://0, 'src ! ...', synthetic",
    )
    add("--runtime", choices=("auto", "onnxruntime", "openvino"), default="auto")
    add("--fit", choices=("stretch", "letterbox"), default="stretch")
    add("--threads", type=int, help="CPU threads of the engine (default: the runtime's choice)")
    add("--rebuild", action="store_true", help="build a TensorRT engine again if it is stale")
    _add_source_options(parser)
    _add_output_options(parser)
    return parser


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("source")
    add = group.add_argument
    add("--size", type=_size, metavar="HxW", help="ask a device for this size, as 480x640")
    add("--fps", type=float, help="ask for this rate; of a folder: images a second (10)")
    add("--rtsp-transport", choices=("tcp", "udp"), default="tcp")
    add("--loop", action="store_true", help="start files again at their end")
    add("--every-frame", action="store_true", help="of files: drop nothing, take the time it takes")
    add("--stall-timeout", type=float, default=2.0, metavar="S", help="reconnect after (2 s)")
    add("--duration", type=float, metavar="S", help="stop after S seconds")


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add = group.add_argument
    add("--max-age", type=float, metavar="S", help="show nothing that is older")
    add("--show", action="store_true", help="overlay in a window; q or Esc ends it")
    add("--record", metavar="OUT.mp4", help="overlays, as OUT-00001.mp4, OUT-00002.mp4, ...")
    add("--segment", type=float, default=60.0, metavar="S", help="length of each (60 s)")
    add("--labels", metavar="DIR|F.jsonl", help="label maps: PNGs, or run lengths as JSON lines")
    add("--min-free", type=float, default=500.0, metavar="MB", help="stays free on the disk (500)")
    add("--alpha", type=float, default=0.5, help="weight of the colours, 0-1 (0.5)")
    add("--serve", metavar="HOST:PORT", help="page, /metrics and /healthz")
    add("--token", help="asked of the page's visitors; needed on any address but 127.0.0.1")
    add("--log-json", action="store_true", help="log as JSON lines")


def watch(arguments: argparse.Namespace) -> int:
    """Run the loop until the source ends, a signal comes or the time is over."""
    from segnet_deploy.camera.loop import Camera
    from segnet_deploy.camera.outputs.status_log import start_logging
    from segnet_deploy.segmenter import load

    _check(arguments)
    start_logging(arguments.log_json)
    source = _source(arguments)
    engine = partial(
        load,
        *(arguments.engine, arguments.runtime, arguments.fit),
        *(arguments.threads, arguments.rebuild),
    )
    camera = Camera(
        engine,
        source,
        every_frame=arguments.every_frame,
        max_age=arguments.max_age,
        duration=arguments.duration,
        stall_timeout=arguments.stall_timeout,
    )
    with camera, _signals(camera.stop):
        open_outputs(camera, arguments)
        for _ in camera.results():
            pass
        print(f"{camera.status().shown} frames shown", file=sys.stderr)
        if not camera.close():
            _leave()
    return 0


def open_outputs(camera: Camera, arguments: argparse.Namespace) -> None:
    """Open what the flags ask for, the cheap ones first."""
    from segnet_deploy.camera.outputs.background import Background
    from segnet_deploy.camera.outputs.label_lines import LabelImages, LabelLines
    from segnet_deploy.camera.outputs.status_log import StatusLog
    from segnet_deploy.camera.outputs.systemd_watchdog import Watchdog

    add: Callable[[Output], None] = camera.outputs.append
    palette, alpha = camera.metadata.palette, arguments.alpha
    least_free, wait = int(arguments.min_free * 1e6), arguments.every_frame
    add(Watchdog())
    add(StatusLog())
    if arguments.labels:
        kind = LabelLines if arguments.labels.endswith(".jsonl") else LabelImages
        add(Background(kind(arguments.labels, least_free), wait))
    if arguments.record:
        from segnet_deploy.camera.outputs.recording import Recording

        recording = Recording(arguments.record, palette, alpha, arguments.segment, least_free)
        add(Background(recording, wait))
    if arguments.serve:
        from segnet_deploy.camera.web import serve

        add(serve(arguments.serve, camera.metadata.classes, palette, arguments.token))
    if arguments.show:
        from segnet_deploy.camera.outputs.window import Window

        add(Window(palette, camera.stop, alpha))


def _source(arguments: argparse.Namespace) -> Source:
    from segnet_deploy.camera.sources.base import SourceOptions
    from segnet_deploy.camera.sources.find import find_source

    options = SourceOptions(
        size=arguments.size,
        fps=arguments.fps,
        loop=arguments.loop,
        paced=not arguments.every_frame,
        rtsp_transport=arguments.rtsp_transport,
    )
    source = find_source(arguments.source, options)
    if arguments.every_frame and source.live:
        raise UsageError(f"--every-frame with {source.name}, which is live; expected a file")
    return source


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at SIGTERM and SIGINT."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _leave() -> None:
    """End now: files are closed, and what still runs waits for a source or an engine."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected height x width, as 480x640")
    return int(height), int(width)


def _check(arguments: argparse.Namespace) -> None:
    for name in ("threads", "fps", "stall_timeout", "duration", "max_age", "segment"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise UsageError(f"--{name.replace('_', '-')} {value}; expected more than 0")
    if not 0 <= arguments.alpha <= 1:
        raise UsageError(f"--alpha {arguments.alpha}; expected 0 to 1")
    if arguments.labels and Path(arguments.labels).is_file() != arguments.labels.endswith(".jsonl"):
        path = Path(arguments.labels)
        if path.exists():
            raise UsageError(f"--labels {path}; expected a folder or a name that ends with .jsonl")


if __name__ == "__main__":
    sys.exit(main())
