"""`segnet-camera`: segment the newest frame of a camera, stream or file."""

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

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run
from segnet_deploy.cli.config_file import with_config
from segnet_deploy.cli.device import choose_device
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import InputError, UsageError

if TYPE_CHECKING:
    from segnet_deploy.camera import Camera


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = build_parser()
    try:
        argv = with_config(parser, sys.argv[1:] if argv is None else argv)
    except InputError as error:
        parser.error(str(error))
    return run(parser, watch, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-camera`."""
    parser = Parser(
        "segnet-camera",
        "Segment the newest frame of a camera, stream or file; show, record or serve it.",
        exits="0 ended or stopped, 1 the source or the engine failed or a file is damaged",
    )
    group(parser, "general").add_argument(
        "--config", metavar="FILE.toml", help="options in a file; the command line overrides them"
    )
    options.add_engine(parser)
    options.add_runtime(parser)
    options.add_device(parser)
    options.add_source(
        parser,
        "/dev/video0, rtsp://, http://, file, folder, csi://0, 'src ! ...', synthetic",
    )
    _add_source_options(parser)
    options.add_fit(parser)
    _add_output_options(parser)
    return parser


def _add_source_options(parser: Parser) -> None:
    add = group(parser, "input").add_argument
    add("--size", nargs=2, type=int, metavar=("H", "W"), help="frame size of a device, in px")
    parser.read_as_size("--size")
    add("--fps", type=float, metavar="N", help="of a device; of a folder's images (default: 10)")
    add("--rtsp-transport", choices=("tcp", "udp"), default="tcp", help="default: tcp")
    add("--loop", action="store_true", help="restart files and folders at their end")
    add("--every-frame", action="store_true", help="process every frame of a file; drop none")
    add(
        "--stall-timeout",
        type=float,
        default=2.0,
        metavar="S",
        help="reconnect after S seconds without a frame (default: 2)",
    )
    add("--duration", type=float, metavar="S", help="stop after S seconds")


def _add_output_options(parser: Parser) -> None:
    options.add_alpha(parser)
    add = group(parser, "output").add_argument
    add("--max-age", type=float, metavar="S", help="do not show results older than S seconds")
    options.add_show(parser)
    add("--record", metavar="OUT.mp4", help="record overlays as OUT-00001.mp4, OUT-00002.mp4, ...")
    add(
        "--segment",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds per recorded file (default: 60)",
    )
    add("--labels", metavar="DIR|F.jsonl", help="label maps: PNGs, or run lengths as JSON lines")
    add(
        "--min-free",
        type=float,
        default=500.0,
        metavar="MB",
        help="pause writing below this free disk space (default: 500)",
    )
    add("--serve", metavar="HOST:PORT", help="serve the web page, /metrics and /healthz")
    add("--token", help="access token for the page; required on any address but 127.0.0.1")
    add("--log-json", action="store_true", help="log as JSON lines")


def watch(arguments: argparse.Namespace) -> int:
    """Run the loop until the source ends, a signal arrives or the duration is over."""
    from segnet_deploy.camera import add_outputs
    from segnet_deploy.camera.logs import log_end, start_logging

    _check(arguments)
    choose_device(arguments)
    start_logging(arguments.log_json, quiet=arguments.quiet)
    camera = _open_camera(arguments)
    with camera, _stop_on_signals(camera.stop):
        add_outputs(
            camera,
            labels=arguments.labels,
            record=arguments.record,
            serve=arguments.serve,
            window=arguments.show,
            status_log=True,
            systemd_watchdog=True,
            segment=arguments.segment,
            min_free_bytes=int(arguments.min_free * 1e6),
            alpha=arguments.alpha,
            token=arguments.token,
        )
        for _ in camera.results():
            pass
        log_end(camera.status())
        if damage := camera.damage():
            print(f"error: {damage}", file=sys.stderr)
        if not camera.close():
            _exit_now(1 if damage else 0)
    return 1 if damage else 0


def _source(arguments: argparse.Namespace) -> str:
    """Return the one source; one on the command line overrides that of --config."""
    sources = options.read_sources(arguments, "/dev/video0")
    if len(arguments.inputs or sources) > 1 or (arguments.config is None and len(sources) > 1):
        raise UsageError(f"{' and '.join(sources)}; expected one (record with --record OUT.mp4)")
    return sources[0]


def _open_camera(arguments: argparse.Namespace) -> Camera:
    from segnet_deploy.camera import Camera, SourceOptions, find_source
    from segnet_deploy.segmenter import load

    load_engine = partial(
        load,
        arguments.engine,
        runtime=arguments.runtime,
        fit=arguments.fit,
        threads=arguments.threads,
        rebuild=options.rebuild_callback(arguments),
        progress=arguments.progress,
    )
    source_options = SourceOptions(
        size=tuple(arguments.size) if arguments.size else None,
        fps=arguments.fps,
        loop=arguments.loop,
        paced=not arguments.every_frame,
        rtsp_transport=arguments.rtsp_transport,
    )
    return Camera(
        load_engine,
        find_source(_source(arguments), source_options),
        every_frame=arguments.every_frame,
        max_age=arguments.max_age,
        duration=arguments.duration,
        stall_timeout=arguments.stall_timeout,
    )


@contextlib.contextmanager
def _stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _exit_now(status: int) -> None:
    """Exit although a thread still waits for a source or an engine: the outputs are closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _check(arguments: argparse.Namespace) -> None:
    options.check_positive(
        arguments, "threads", "fps", "stall_timeout", "duration", "max_age", "segment"
    )
    options.check_alpha(arguments)
    options.check_size(arguments, "size")
    if arguments.labels and Path(arguments.labels).is_file() != arguments.labels.endswith(".jsonl"):
        path = Path(arguments.labels)
        if path.exists():
            raise UsageError(f"--labels {path}; expected a folder or a name that ends with .jsonl")


if __name__ == "__main__":
    sys.exit(main())
