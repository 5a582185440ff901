"""Colors as a file stores them, in any color space Blender knows, made scene-linear by Blender itself."""

from __future__ import annotations

import struct
import zlib

import bpy
import numpy as np

STEPS = 65535


def scene_linear(stored: np.ndarray, space: bpy.types.ColorManagedInputColorspaceSettings) -> np.ndarray:
    """Scene-linear colors of stored ones.

    Parameters
    ----------
    stored : (H,W,3) float array
        0..1, as the file has them.
    space : bpy.types.ColorManagedInputColorspaceSettings
        Of the image they are from.

    Returns
    -------
    (H,W,3) float32 array
        What Blender reads from a picture of 16 bits that holds them; it converts those itself.
    """
    height, width = stored.shape[:2]
    data = _png(np.round(np.clip(stored, 0.0, 1.0) * STEPS).astype(">u2"))
    image = bpy.data.images.new("StereoDiff pixels", 1, 1)
    try:
        image.pack(data=data, data_len=len(data))
        image.source = "FILE"
        image.colorspace_settings.name = space.name
        colors = np.empty((height, width, 4), np.float32)
        image.pixels.foreach_get(colors.ravel())
    finally:
        bpy.data.images.remove(image)
    return colors[::-1, :, :3]


def _png(pixels: np.ndarray) -> bytes:
    """A PNG file of (H,W,3) big-endian uint16 pixels."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 1)),
              (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body +
                                           struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks)
