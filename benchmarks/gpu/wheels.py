"""How do large wheels reach a machine that takes only small files at a time?

    python benchmarks/gpu/wheels.py split BIG.whl -o parts [--megabytes 52]
    python benchmarks/gpu/wheels.py join parts/1 --into /tmp/extra       # on the other machine

`split` writes folders parts/1, parts/2, ..., each with one piece and the manifest. `join` takes one
or more such folders, in any order and in as many calls as needed; with the last piece it checks the
whole and unpacks it into the folder, outside of the source tree.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
for _folder in (ROOT, ROOT / "benchmarks"):
    sys.path.insert(0, str(_folder))

from harness import options  # noqa: E402 - after the path
from segnet_deploy.cli import command  # noqa: E402
from segnet_deploy.errors import InputError  # noqa: E402
from segnet_deploy.files import atomic_path, atomic_write, make_folder, sha256  # noqa: E402

MANIFEST = "manifest.json"
PIECES = ".pieces"  # in the target folder, until the whole is there
BLOCK = 1 << 20


def split(wheel: Path, target: Path, size: int) -> list[Path]:
    """Write pieces of at most `size` bytes; return their folders. Raises InputError."""
    if not wheel.is_file() or not zipfile.is_zipfile(wheel):
        raise InputError(f"{wheel} is not a wheel; expected a .whl file")
    if size < 1:
        raise InputError(f"pieces of {size} bytes; expected at least 1")
    count = -(-wheel.stat().st_size // size)
    folders = [target / str(number + 1) for number in range(count)]
    pieces = []
    with open(wheel, "rb") as stream:
        for number, folder in enumerate(folders):
            make_folder(folder)
            piece = folder / f"{wheel.name}.{number + 1:02d}"
            with atomic_path(piece) as temporary, open(temporary, "wb") as out:
                left = size
                while left and (block := stream.read(min(BLOCK, left))):
                    out.write(block)
                    left -= len(block)
            pieces.append({"name": piece.name, "sha256": sha256(piece)})
    manifest = {"name": wheel.name, "sha256": sha256(wheel), "pieces": pieces}
    for folder in folders:
        atomic_write(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return folders


def join(folders: Sequence[Path], target: Path) -> list[str]:
    """Add the pieces in `folders` to `target`; return the names of those that are still missing.

    If none is missing the wheel is unpacked into `target`. Raises InputError for a damaged piece.
    """
    waiting = target / PIECES
    make_folder(waiting)
    manifest: dict[str, Any] = {}
    for folder in folders:
        manifest = _read_manifest(folder)
        for piece in manifest["pieces"]:
            source = folder / piece["name"]
            if source.is_file():
                atomic_write(waiting / piece["name"], source.read_bytes())
                _check(waiting / piece["name"], piece["sha256"])
    missing = [p["name"] for p in manifest["pieces"] if not (waiting / p["name"]).is_file()]
    if not missing:
        _unpack([waiting / piece["name"] for piece in manifest["pieces"]], manifest, target)
    return missing


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        names = [found["name"], *(piece["name"] for piece in found["pieces"])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} has no readable {MANIFEST} ({error}); split again") from None
    if any(Path(name).name != name for name in names):
        raise InputError(f"{folder / MANIFEST} names files in other folders; split again")
    return found


def _check(file: Path, expected: str) -> None:
    if (found := sha256(file)) != expected:
        file.unlink()
        raise InputError(
            f"{file.name} is damaged: SHA-256 {found[:12]}, expected {expected[:12]}; copy it again"
        )


def _unpack(pieces: list[Path], manifest: dict[str, Any], target: Path) -> None:
    wheel = target / PIECES / manifest["name"]
    with open(wheel, "wb") as out:
        for piece in pieces:
            out.write(piece.read_bytes())
    _check(wheel, manifest["sha256"])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    for file in (*pieces, wheel):
        file.unlink()


def build_parser() -> argparse.ArgumentParser:
    parser = options.new_parser(__doc__)
    commands = parser.add_subparsers(dest="what", required=True, metavar="split|join")
    one = commands.add_parser("split", help="divide a wheel into pieces")
    one.add_argument("wheel", type=Path)
    one.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    one.add_argument("--megabytes", type=float, default=52, help="of a piece (default: 52)")
    other = commands.add_parser("join", help="add pieces, and unpack the wheel if all are there")
    other.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    other.add_argument("--into", type=Path, required=True, metavar="DIR")
    return parser


def split_or_join(arguments: argparse.Namespace) -> int:
    if arguments.what == "split":
        folders = split(arguments.wheel, arguments.output, int(arguments.megabytes * 1e6))
        print(f"{len(folders)} pieces: {folders[0]} to {folders[-1]}")
        return 0
    missing = join(arguments.folders, arguments.into)
    print(f"missing: {', '.join(missing)}" if missing else f"unpacked into {arguments.into}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return command.run(build_parser(), split_or_join, argv)


if __name__ == "__main__":
    sys.exit(main())
