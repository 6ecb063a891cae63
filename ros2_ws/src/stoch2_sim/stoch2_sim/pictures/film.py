"""Videos of recorded runs, side by side, drawn headless."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo_control.report.video import Colour, Frame, side_by_side, write_video
from stoch2_sim.pictures.process import PictureProcess

GREEN: Colour = (34, 139, 84)
AMBER: Colour = (201, 128, 22)
RED: Colour = (191, 43, 38)
"""Colours of what a caption says of a run: well, not so well, over."""


@dataclass(frozen=True)
class FilmedRun:
    """One run of a video.

    Attributes:
        duration_s: Its length; a shorter run keeps its last picture.
        start_painter: Starts the process that draws it, with what to try in this order.
        state_at: What is drawn at a time; see :meth:`PictureProcess.request`.
        captioned: Puts the captions of a time on a picture.
    """

    duration_s: float
    start_painter: Callable[[Sequence[str]], PictureProcess]
    state_at: Callable[[float], Sequence[float]]
    captioned: Callable[[Frame, float], Frame]


def film(
    path: Path,
    runs: Sequence[FilmedRun],
    backends: Sequence[str],
    fps: float,
    progress: Callable[[float], None] | None = None,
) -> str:
    """Draw runs side by side into an mp4.

    Args:
        path: The file to make (written beside and renamed).
        runs: At least one.
        backends: Means of drawing to try, in this order.
        fps: Frames per second of simulated time.
        progress: Told the finished share, 0 to 1.

    Returns:
        Which of the backends drew the pictures.

    Raises:
        PictureError: None of the backends works.
        VideoError: The encoder failed.
    """
    painters: list[PictureProcess] = []
    try:
        for run in runs:
            # What works for the first run works for all: do not try the others again.
            painters.append(run.start_painter([painters[0].backend] if painters else backends))
        write_video(path, _frames(runs, painters, fps, progress or (lambda _share: None)), fps)
        return painters[0].backend
    finally:
        for painter in painters:
            painter.close()


def _frames(
    runs: Sequence[FilmedRun],
    painters: Sequence[PictureProcess],
    fps: float,
    progress: Callable[[float], None],
) -> Iterator[Frame]:
    """The video's frames, all runs in each."""
    count = round(max(run.duration_s for run in runs) * fps) + 1
    _request(runs, painters, 0.0)
    for frame in range(count):
        pictures = [painter.receive() for painter in painters]
        if frame + 1 < count:
            # Drawn while this frame gets its captions and is encoded.
            _request(runs, painters, (frame + 1) / fps)
        yield side_by_side([run.captioned(picture, frame / fps) for picture, run in zip(pictures, runs, strict=True)])
        progress((frame + 1) / count)


def _request(runs: Sequence[FilmedRun], painters: Sequence[PictureProcess], time_s: float) -> None:
    """Have all runs drawn as they are at a time."""
    for painter, run in zip(painters, runs, strict=True):
        painter.request(*run.state_at(time_s))
