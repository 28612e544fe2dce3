"""benchmarks/quantisers.py: what its cached files are made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import quantisers

from segnet_deploy.errors import InputError


def test_cached_files_of_another_net_or_calibration_are_refused(tmp_path: Path) -> None:
    folder, source, frame = tmp_path / "out", tmp_path / "net.onnx", np.zeros((4, 6, 3), np.uint8)
    folder.mkdir()
    source.write_bytes(b"net")
    quantisers.check_origin(folder, source, [frame])
    (folder / "nncf.onnx").write_bytes(b"int8")
    quantisers.check_origin(folder, source, [frame])
    for frames in ([frame, frame], [frame + 1], [frame.reshape(6, 4, 3)]):
        with pytest.raises(InputError, match="another net or calibration"):
            quantisers.check_origin(folder, source, frames)
    source.write_bytes(b"other net")
    with pytest.raises(InputError, match="another net or calibration"):
        quantisers.check_origin(folder, source, [frame])
