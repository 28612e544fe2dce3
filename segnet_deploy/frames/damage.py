"""Find damage in the bytes of an image, since decoders fill in what is missing or wrong.

PNG has checksums. In JPEG and TIFF, damage is what their decoders report (libjpeg's warnings, by
simplejpeg; libtiff's errors, by Pillow): the codes of the pixels do not fit together. Values that
changed without breaking a code cannot be found, nor can any in formats without codes to check
(BMP, PPM, WebP, uncompressed TIFF), of which only truncated files are refused.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from typing import Any

from segnet_deploy.optional import available, require

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COMPRESSION, _DEFLATE = 259, (8, 32946)  # tag, values
_STRIPS, _TILES = (273, 279), (324, 325)  # tags of offsets and lengths
_EARLY = "it ends early"
# How Pillow reports data that its decoder refuses; its other errors are kinds that it cannot read.
_PILLOW = ("decoder error", "image file is truncated", "broken data", "unrecognized data")


def find_damage(data: bytes) -> str | None:
    """Return what is wrong with the bytes of a PNG, JPEG or TIFF; None if nothing was found.

    Other formats are not checked. Without simplejpeg, a JPEG is only checked for its end, and
    without Pillow, a TIFF is not checked.
    """
    if data.startswith(b"\x89PNG"):
        return _png_damage(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_damage(data)
    if data.startswith(_TIFF):
        return _tiff_damage(data)
    return None


def is_complete_jpeg(data: bytes) -> bool:
    """Return whether a JPEG's segments reach its end marker; phones append videos after it."""
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        marker = data[position + 1]
        if marker == 0xD9:
            return True
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD7:  # these have no length
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _png_damage(data: bytes) -> str | None:
    """Check the checksums of the chunks that the pixels depend on."""
    view, start = memoryview(data), 8
    while start + 12 <= len(data):
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end > len(data):
            break
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if kind[:1].isupper() and zlib.crc32(view[start + 4 : end - 4]) != checksum:
            return f"wrong checksum at byte {start}"
        if kind == b"IEND":
            return None
        start = end
    return _EARLY


def _jpeg_damage(data: bytes) -> str | None:
    if not is_complete_jpeg(data):
        return _EARLY
    if not available("simplejpeg"):
        return None
    try:
        require("simplejpeg").decode_jpeg(data, "GRAY", strict=True)
    except ValueError as error:
        # 'tjDecompress...(): ...' is a kind of JPEG that this wrapper of libjpeg does not decode.
        return None if "(): " in str(error) else str(error)
    return None


def _tiff_damage(data: bytes) -> str | None:
    if not available("PIL"):
        return None
    try:
        opened = require("PIL.Image").open(io.BytesIO(data), formats=["TIFF"])
    except Exception:  # a kind of TIFF that Pillow does not know; OpenCV may
        return None
    try:
        opened.load()
    except Exception as error:
        return str(error) if str(error).startswith(_PILLOW) else None
    return _deflate_damage(opened.tag_v2, data)


def _deflate_damage(tags: Mapping[int, Any], data: bytes) -> str | None:
    """Check the checksums of a TIFF with Deflate: libtiff stops before it reaches them."""
    if tags.get(_COMPRESSION) not in _DEFLATE:
        return None
    for offsets, lengths in (_STRIPS, _TILES):
        for start, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False):
            try:
                stream = zlib.decompressobj()
                stream.decompress(data[start : start + length])
            except zlib.error as error:
                return str(error)
            if not stream.eof:
                return _EARLY
    return None
