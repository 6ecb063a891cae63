"""Videos from frames: writing, captions, and several pictures side by side."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from demo_control.files import write_atomically

Frame = npt.NDArray[np.uint8]
"""A picture. Shape=(height, width, 3), red, green, blue."""

Colour = tuple[int, int, int]
INK: Colour = (33, 41, 54)
PAPER: Colour = (247, 249, 251)
MUTED: Colour = (96, 106, 118)
_EVEN = 2  # H.264 with 4:2:0 chroma needs even sides


class VideoError(RuntimeError):
    """A video could not be written; the text says why."""


def write_video(path: Path, frames: Iterable[Frame], fps: float) -> int:
    """Encode frames as an H.264 mp4, written beside the target and renamed when complete.

    Args:
        path: The file to make; its folder is created.
        frames: Pictures of one size, at least one.
        fps: Frames per second.

    Returns:
        The number of frames written.

    Raises:
        VideoError: No frames, frames of different sizes, or the encoder failed.
    """
    try:
        return write_atomically(path, lambda beside: _encode(beside, path.name, frames, fps))
    except OSError as error:
        raise VideoError(f"{path.name}: the video encoder failed: {error}") from error


def _encode(path: Path, name: str, frames: Iterable[Frame], fps: float) -> int:
    """Encode frames into a file; returns their number. Errors call the file ``name``."""
    count = 0
    with contextlib.ExitStack() as stack:
        writer: Any = None
        size: tuple[int, ...] = ()
        for frame in frames:
            padded = np.ascontiguousarray(_even_sides(frame))
            if writer is None:
                size = padded.shape
                writer = _open_writer(path, size, fps)
                stack.callback(writer.close)
            if padded.shape != size:
                raise VideoError(f"frame {count} has shape {frame.shape}, the first had {size}")
            writer.send(padded)
            count += 1
    if count == 0:
        raise VideoError(f"{name}: there are no frames to write")
    return count


def _open_writer(path: Path, shape: tuple[int, ...], fps: float) -> Any:  # noqa: ANN401 - untyped
    """An encoder's generator, ready to be sent frames."""
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (shape[1], shape[0]),
        fps=fps,
        codec="libx264",
        macro_block_size=_EVEN,
        ffmpeg_log_level="error",
        # Let players start before the whole file is there; 'slow' halves the size of such pictures.
        output_params=["-crf", "20", "-preset", "medium", "-movflags", "+faststart"],
    )
    writer.send(None)
    return writer


def _even_sides(frame: Frame) -> Frame:
    """The frame, its last row and column repeated where a side is odd."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % _EVEN), (0, width % _EVEN), (0, 0)), mode="edge")


def side_by_side(frames: Sequence[Frame], gap: int = 4) -> Frame:
    """Frames of one height next to each other, ``gap`` pixels of paper between them."""
    height = frames[0].shape[0]
    strip = np.full((height, gap, 3), PAPER, dtype=np.uint8)
    parts: list[Frame] = []
    for frame in frames:
        parts += [frame, strip]
    return np.concatenate(parts[:-1], axis=1)


@functools.lru_cache(maxsize=8)
def _font(size: int, bold: bool) -> Any:  # noqa: ANN401 - Pillow has two unrelated font classes
    """The sans-serif font that comes with Matplotlib: the same letters on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def caption(frame: Frame, title: str, note: str, chip: str, chip_colour: Colour) -> Frame:
    """A frame with a bar across its top: title at the left, a coloured chip and a note at the right.

    Args:
        frame: The picture; it is not changed.
        title: Set in bold.
        note: For example the time.
        chip: A word or two of state.
        chip_colour: The chip's background.

    Returns:
        Shape=(height + bar, width, 3), where the bar is a tenth of the height.
    """
    height, width = frame.shape[:2]
    bar = max(20, height // 10)
    picture = Image.new("RGB", (width, height + bar), PAPER)
    picture.paste(Image.fromarray(frame), (0, bar))
    draw = ImageDraw.Draw(picture)
    margin, middle, size = bar // 3, bar // 2, int(bar * 0.48)
    draw.text((margin, middle), title, INK, _font(size, bold=True), anchor="lm")
    draw.text((width - margin, middle), note, INK, _font(size, bold=False), anchor="rm")
    note_width = draw.textlength(note, _font(size, bold=False))
    chip_font = _font(int(size * 0.85), bold=True)
    right = width - 2 * margin - int(note_width)
    left = right - int(draw.textlength(chip, chip_font)) - 2 * margin
    box = (left, int(bar * 0.16), right, int(bar * 0.84))
    draw.rounded_rectangle(box, radius=bar // 3, fill=chip_colour)
    draw.text(((left + right) // 2, middle), chip, (255, 255, 255), chip_font, anchor="mm")
    return np.asarray(picture, dtype=np.uint8)


def footer(frame: Frame, entries: Sequence[tuple[str, str, str]]) -> Frame:
    """A frame with a bar across its bottom, in which figures stand side by side.

    Args:
        frame: The picture; it is not changed.
        entries: Name, value (set in bold) and a remark of each figure.

    Returns:
        Shape=(height + bar, width, 3), where the bar is about a twelfth of the height.
    """
    height, width = frame.shape[:2]
    bar = max(20, height // 12)
    picture = Image.new("RGB", (width, height + bar), PAPER)
    picture.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(picture)
    size, middle = int(bar * 0.42), height + bar // 2
    for number, texts in enumerate(entries):
        left = bar // 3 + number * width / len(entries)
        for text, colour, bold in zip(texts, (MUTED, INK, MUTED), (False, True, False), strict=True):
            font = _font(size, bold=bold)
            draw.text((left, middle), text, colour, font, anchor="lm")
            left += draw.textlength(text, font) + size * 0.6
    return np.asarray(picture, dtype=np.uint8)
