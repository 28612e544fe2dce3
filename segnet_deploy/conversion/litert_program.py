"""Convert an ONNX file to LiteRT with onnx2tf, and run the result.

    python -I litert_program.py versions
    python -I litert_program.py convert model.onnx model.tflite
    python -I litert_program.py run model.tflite inputs.npz outputs.npz

to_litert.py runs it in the interpreter that has these packages, which may be another one than
that of segnet-deploy; consequently it imports nothing of segnet-deploy. `versions` prints JSON.
"""

import importlib.metadata
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("onnx2tf", "ai-edge-litert", "tensorflow", "tf-keras")


def versions() -> None:
    """Print the versions of Python and of each package, null for one that is missing."""
    found: dict[str, object] = {"python": sys.version_info[:2]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    print(json.dumps(found))


def convert(source: str, target: str) -> None:
    """Write the float32 LiteRT file of an ONNX file in lowered form.

    The converter is TensorFlow's: onnx2tf 2.6.9's own (flatbuffer_direct) is wrong for odd sizes.
    """
    import onnx2tf

    with tempfile.TemporaryDirectory() as folder:
        onnx2tf.convert(
            input_onnx_file_path=source,
            output_folder_path=folder,
            copy_onnx_input_output_names_to_tflite=True,
            tflite_backend="tf_converter",
            non_verbose=True,
        )
        shutil.move(next(Path(folder).glob("*_float32.tflite")), target)


def run(path: str, inputs: str, outputs: str) -> None:
    """Run each array of `inputs`, and save the results as `NUMBER/NAME`."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    results = {}
    with np.load(inputs) as archive:
        for number in archive.files:
            interpreter.set_tensor(image["index"], archive[number])
            interpreter.invoke()
            for output in interpreter.get_output_details():
                results[f"{number}/{output['name']}"] = interpreter.get_tensor(output["index"])
    np.savez(outputs, **results)


TASKS: dict[str, Callable[..., None]] = {"versions": versions, "convert": convert, "run": run}

if __name__ == "__main__":
    TASKS[sys.argv[1]](*sys.argv[2:])
