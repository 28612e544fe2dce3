"""What Ultralytics, jetson-inference, trtexec, Polygraphy and benchmark_app call our options.

Their words are not accepted, so that each option has one name: the error says what to write. The
table for people is docs/guides/coming-from-other-tools.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_WARM_UP = "warm-up needs no option: it ends when the times are stable"
_SHAPES = "the size is a property of the file: segnet-export --imgsz H W, or --dynamic size"
_PRECISION = "the precision is a property of the file: segnet-export --precision fp16|bf16|int8"
_BATCH = "the batch is a property of the file: segnet-export --batch N, or --dynamic batch"
_CLASSES = "names and colours are in the file: segnet-export --classes FILE"
# Their options, ours if the command has it, and what to do if it does not.
_TABLE = (
    ("-m --model --weights --network --loadEngine --load-engine", "--engine FILE", ""),
    ("--onnx", "--engine FILE", "the ONNX file is given without an option"),
    ("--saveEngine --save-engine", "-o FILE", ""),
    ("-i --inputs --input", "--source FILE|DIR", "--image FILE"),
    ("-d", "--device cpu|cuda:N", ""),
    ("--gpu --cuda --gpu-id", "--device cuda:N", ""),
    ("--cpu", "--device cpu", ""),
    ("-niter --niter --iterations", "--runs N", ""),
    ("-t --seconds", "--duration S", ""),
    ("-nthreads --nthreads --num-threads", "--threads N", ""),
    ("-nireq -nstreams -hint -api --infStreams --streams", "", "one frame is run at a time"),
    ("--warmUp --warm-up --warmup", "", _WARM_UP),
    ("--fp16 --half", "--precision fp16", _PRECISION),
    ("--bf16", "--precision bf16", _PRECISION),
    ("--int8", "--precision int8", _PRECISION),
    ("-infer_precision --dtype", "--precision fp16|bf16|int8", _PRECISION),
    (
        "--minShapes --optShapes --maxShapes --trt-min-shapes --trt-opt-shapes --trt-max-shapes",
        "--size-range MIN OPT MAX",
        _SHAPES,
    ),
    (
        "-shape -data_shape --shapes --input-shapes --img --img-size --img_size --imgsz "
        "--input-width --input-height",
        "--imgsz H W",
        _SHAPES,
    ),
    ("-b --batch-size --batch_size --batch", "--batch N", _BATCH),
    ("--exportTimes --exportProfile -report_type -report_folder -json_stats", "--json FILE", ""),
    ("--dumpProfile --separateProfileRun --profile -pc", "--layers", ""),
    ("--dumpLayerInfo --exportLayerInfo", "", "the layers are in ENGINE.trt.json"),
    ("--timingCacheFile --load-timing-cache --save-timing-cache", "--timing-cache DIR", ""),
    ("--memPoolSize --pool-limit", "--workspace MB", ""),
    ("--plugins --staticPlugins --dynamicPlugins", "--plugin FILE", ""),
    ("--setPluginsToSerialize", "--embed-plugin", ""),
    ("--onnxrt", "--runtime onnxruntime", ""),
    ("--trt", "", "give an engine of segnet-build: --engine FILE.trt"),
    ("--atol --rtol --validate", "--min-agreement SHARE", "segnet-eval --against FILE compares"),
    ("--project --save-dir --save_dir --output-dir --out --exp-name", "-o DIR", ""),
    ("--save --save-txt --save_txt --visualize", "", "-o DIR gets labels and overlays"),
    ("--view-img --display --view", "--show", ""),
    ("--headless --no-display", "", "no window is shown without --show"),
    ("--conf --confidence --threshold --iou", "", "each pixel gets its most likely class"),
    ("--labels --colors --class-labels --class-colors", "--classes FILE", _CLASSES),
    ("--filter-mode", "", "labels and overlays have the size of the frame"),
    ("--stats --benchmark", "", "segnet-bench measures"),
    ("--val", "", "segnet-eval measures the accuracy"),
    ("--format --include", "", "OpenVINO and ncnn read the ONNX file; --for LIST other devices"),
    ("--simplify", "", "constants are folded without an option"),
    ("--input-codec --input-rate --framerate", "--fps N", ""),
    ("--input-loop", "--loop", ""),
    ("--output-save", "--record OUT.mp4", "-o DIR"),
    ("--log-level --severity", "-v", ""),
    ("--percentile --avgRuns", "", "median, p90, p95 and p99 are always printed"),
    ("--useCudaGraph --useSpinWait --noDataTransfers", "", "recorded in --json FILE: switches"),
    ("--loadInputs", "--image FILE", ""),
    ("--vid-stride --vid_stride", "--every N", "all frames are segmented"),
    ("--stream --stream_buffer", "", "memory does not grow with the number of inputs"),
)
_FOREIGN = {name: (ours, advice) for names, ours, advice in _TABLE for name in names.split()}


def translate(name: str, options: Iterable[str]) -> str:
    """Return what to write for another tool's option `name` in a command with `options`, or ""."""
    ours, advice = _FOREIGN.get(name, ("", ""))
    if ours.partition(" ")[0] in options:
        return f"{name} is {ours} here"
    return f"{name} is not an option here: {advice}" if advice else ""


def closest_option(name: str, options: Iterable[str]) -> str | None:
    """Return the option that `name` is probably a misspelling of."""
    known = [option for option in options if option.startswith("--")]
    plain = name if name.startswith("--") else f"-{name}"
    found = difflib.get_close_matches(plain.lower().replace("_", "-"), known, n=1, cutoff=0.7)
    if found:
        return found[0]
    longer = [option for option in known if option.startswith(plain) and len(plain) > 3]
    return longer[0] if len(longer) == 1 else None
