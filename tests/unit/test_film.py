"""Videos of runs side by side: which picture gets which caption, and what becomes of the painters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from stoch2_sim.pictures import film as film_module
from stoch2_sim.pictures.film import FilmedRun, film
from stoch2_sim.pictures.painting import Frame


class FakePainter:
    """Its pictures are as bright as the state says."""

    def __init__(self, backends: Sequence[str]) -> None:
        self.tried, self.backend, self.closed = list(backends), backends[-1], False
        self._asked: list[float] = []

    def request(self, *state: float) -> None:
        self._asked.append(state[0])

    def receive(self) -> Frame:
        return np.full((8, 8, 3), self._asked.pop(0), np.uint8)

    def close(self) -> None:
        self.closed = True


class Footage:
    """Two runs, the second one shorter, and what became of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.painters: list[FakePainter] = []
        self.captions: list[tuple[float, int]] = []
        self.runs = [self._run(0.5), self._run(0.2)]
        monkeypatch.setattr(film_module, "write_video", lambda _path, frames, _fps: self.write(frames))

    def write(self, frames: Iterable[Frame]) -> None:
        self.count = len(list(frames))

    def _run(self, duration_s: float) -> FilmedRun:
        def start(backends: Sequence[str]) -> FakePainter:
            self.painters.append(FakePainter(backends))
            return self.painters[-1]

        def captioned(picture: Frame, time_s: float) -> Frame:
            self.captions.append((round(time_s, 6), int(picture[0, 0, 0])))
            return picture

        return FilmedRun(duration_s, start, lambda time_s: [round(100.0 * min(time_s, duration_s))], captioned)  # type: ignore[arg-type]


def test_every_picture_gets_the_caption_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    footage, shares = Footage(monkeypatch), list[float]()
    assert film(Path("walk.mp4"), footage.runs, ("first", "second"), 10.0, shares.append) == "second"
    assert footage.count == 6
    assert footage.captions[::2] == [(round(0.1 * k, 6), 10 * k) for k in range(6)]
    assert [brightness for _, brightness in footage.captions[1::2]] == [0, 10, 20, 20, 20, 20]
    assert shares == pytest.approx(np.arange(1, 7) / 6)
    assert footage.painters[0].tried == ["first", "second"]
    assert footage.painters[1].tried == ["second"], "what draws the first run draws all"


def test_painters_end_with_a_video_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    footage = Footage(monkeypatch)

    def fail(frames: Iterable[Frame]) -> None:
        next(iter(frames))
        raise OSError("disk full")

    monkeypatch.setattr(footage, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        film(Path("walk.mp4"), footage.runs, ("only",), 10.0)
    assert [painter.closed for painter in footage.painters] == [True, True]
