"""Pictures for looking: the frame, and beside it the depth as colors.

Depth is shown as normalized disparity, 1 (yellow) the nearest, 0 (violet) the farthest, in the perceptually even
colors of viridis, with one range for the whole clip; where depth is invalid the picture is black.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import cv2
import imageio.v3 as imageio
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from ..storage import Target, open_to_write, translated_errors, write_bytes

_MAX_SAMPLES = 1_000_000
_RANGE_PERCENTILES = (1.0, 99.0)
_CONVERSION = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
# x264 makes other bytes with another number of threads, and with macroblock-tree rate control from run to run.
_X264 = {"preset": "veryfast", "crf": "20", "threads": "1", "mbtree": "0"}
_UNKNOWN_FPS = 24
_MAX_RATE_DENOMINATOR = 1001  # 23.976 becomes 24000/1001


def write_preview_image(path: Target, frame: np.ndarray, depth: np.ndarray | None) -> None:
    """frame: (H,W,3) uint8 RGB. depth: (H,W), or None for the frame alone. Writes a PNG of frame | depth.

    Raises StereoDiffError "disk_full" or "output_not_writable".
    """
    limits = None if depth is None else disparity_limits(depth[None])
    write_bytes(path, imageio.imwrite("<bytes>", _side_by_side(frame, depth, limits), extension=".png"))


def write_preview_movie(path: Target, frames: np.ndarray, depth: np.ndarray | None, fps: float) -> None:
    """frames: (T,H,W,3) uint8 RGB. depth: (T,H,W), or None for the frames alone. Both may be memory-mapped.

    fps: 0 where it is not known; the movie plays at 24 then. Writes H.264 in MP4, 4:2:0, BT.709, that ordinary players
    show; odd sides get one more black line. Same input, same bytes. Raises StereoDiffError "disk_full" or
    "output_not_writable".
    """
    limits = None if depth is None else disparity_limits(depth)
    pictures = (_side_by_side(frame, None if depth is None else depth[index], limits)
                for index, frame in enumerate(frames))
    height, width = frames.shape[1:3]
    size = (_even(height), _even(width if depth is None else 2 * width))
    with translated_errors(path), open_to_write(path) as stream:
        _encode(stream, pictures, size, Fraction(fps or _UNKNOWN_FPS).limit_denominator(_MAX_RATE_DENOMINATOR))


def disparity_limits(depth: np.ndarray) -> tuple[float, float]:
    """Farthest and nearest disparity to show: percentiles of an even sample of (T,H,W) depth; (0, 1) without any."""
    step = max(1, round((depth.size / _MAX_SAMPLES) ** (1 / 3)))
    sample = np.asarray(depth[::step, ::step, ::step])
    disparity = 1.0 / sample[_is_valid(sample)]
    if not disparity.size:
        return 0.0, 1.0
    low, high = np.percentile(disparity, _RANGE_PERCENTILES)
    return float(low), float(high)


def depth_colors(depth: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """(H,W) depth to (H,W,3) uint8 RGB. limits: the disparities that become 0 and 1."""
    valid = _is_valid(depth)
    disparity = np.divide(1.0, depth, out=np.zeros(depth.shape, np.float32), where=valid)
    spread = max(limits[1] - limits[0], 1e-6 * limits[1])
    normalized = np.clip((disparity - (limits[1] - spread)) / spread, 0.0, 1.0)
    colors = cv2.applyColorMap(np.rint(normalized * 255.0).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1].copy()
    colors[~valid] = 0
    return colors


def _is_valid(depth: np.ndarray) -> np.ndarray:
    return np.isfinite(depth) & (depth > 0)


def _side_by_side(frame: np.ndarray, depth: np.ndarray | None, limits: tuple[float, float] | None) -> np.ndarray:
    return frame if depth is None else np.concatenate([frame, depth_colors(depth, limits)], axis=1)


def _even(side: int) -> int:
    return side + side % 2


def _encode(stream: BinaryIO, pictures: Iterator[np.ndarray], size: tuple[int, int], rate: Fraction) -> None:
    """Encode (H,W,3) uint8 pictures, padded to size, into a file opened by Python: its errors are the system's own."""
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate, options=_X264)
        video.height, video.width = size
        video.pix_fmt = "yuv420p"
        codec = video.codec_context
        codec.color_range, codec.colorspace = ColorRange.MPEG, Colorspace.ITU709
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        converter = VideoReformatter()
        for picture in pictures:
            padding = [(0, size[0] - picture.shape[0]), (0, size[1] - picture.shape[1]), (0, 0)]
            container.mux(video.encode(_video_frame(np.pad(picture, padding), converter)))
        container.mux(video.encode(None))


def _video_frame(picture: np.ndarray, converter: VideoReformatter) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    return converter.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, threads=1,
                              dst_color_range=ColorRange.MPEG, interpolation=_CONVERSION)
