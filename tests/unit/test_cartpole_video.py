"""Pictures and videos of the cart-pole, with whatever this machine can draw."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from demo_control.report.video import VideoError, caption, side_by_side, write_video
from stoch2_sim.pictures.process import PictureError
from stoch2_sim.robots.cartpole import video
from stoch2_sim.robots.cartpole.pictures import BACKENDS, Pictures
from stoch2_sim.robots.cartpole.simulation import to_observation


def red_centre(frame: video.Frame) -> tuple[float, float]:
    """Mean row and column of the pole's red tip; the rail's ends are red too, but lie at the rim."""
    colours = frame[:, 120:520].astype(int)
    rows, columns = np.nonzero((colours[..., 0] > 150) & (colours[..., 1:].max(axis=-1) < 80))
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_draws_the_pole_where_it_is(backend: str) -> None:
    if backend == "pybullet-tiny" and importlib.util.find_spec("pybullet") is None:
        pytest.skip("PyBullet is not installed")
    try:
        pictures = Pictures(640, 368, backends=[backend])
    except PictureError:
        if not backend.startswith("mujoco"):
            raise
        pytest.skip(f"{backend} does not work on this machine")
    with pictures:
        up = red_centre(pictures.draw(0.0, 0.0))
        down = red_centre(pictures.draw(0.0, np.pi))
        right = red_centre(pictures.draw(0.0, np.pi / 2))
    assert up[0] < right[0] < down[0]
    assert right[1] > up[1] + 50


def test_the_last_resort_always_works_and_the_failures_are_told() -> None:
    with Pictures(64, 48, backends=["mujoco-nonsense", "matplotlib"]) as pictures:
        assert pictures.backend == "matplotlib"
        assert pictures.draw(0.0, 0.0).shape == (48, 64, 3)
    with pytest.raises(PictureError, match="mujoco-nonsense: the drawing process ended"):
        Pictures(64, 48, backends=["mujoco-nonsense"])


def test_a_dead_process_is_an_error_not_a_hang() -> None:
    pictures = Pictures(64, 48, backends=["matplotlib"])
    pictures.close()
    with pytest.raises((PictureError, ValueError)):
        pictures.draw(0.0, 0.0)
    pictures.close()


def test_two_runs_become_one_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "BACKENDS", ("matplotlib",))
    times = np.arange(51) * 0.02
    angles = np.linspace(np.pi, 0.0, 51)
    states = np.stack([np.zeros(51), angles], axis=1)
    observations = to_observation(states, np.zeros((51, 2)))
    runs = [
        video.Run("policy alone", times[:20], observations[:20]),
        video.Run("policy + layer", times, observations),
    ]
    shares: list[float] = []
    path = tmp_path / "out" / "runs.mp4"
    assert video.render_video(path, runs, fps=10.0, progress=shares.append) == "matplotlib"
    assert shares[-1] == 1.0
    assert list(path.parent.iterdir()) == [path]
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 11
    assert seconds == pytest.approx(1.1, abs=0.15)


def test_a_run_is_sampled_at_its_newest_observation() -> None:
    run = video.Run("", np.array([0.0, 1.0, 2.0]), np.arange(15.0).reshape(3, 5))
    assert [run.at(t)[0] for t in (-1.0, 0.0, 0.9, 1.0, 5.0)] == [0.0, 0.0, 0.0, 5.0, 10.0]


def test_a_video_needs_frames_of_one_size(tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    with pytest.raises(VideoError, match="no frames"):
        write_video(path, [], 10.0)
    small, large = np.zeros((16, 16, 3), np.uint8), np.zeros((32, 16, 3), np.uint8)
    with pytest.raises(VideoError, match="frame 1 has shape"):
        write_video(path, [small, large], 10.0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="at least one run"):
        video.render_video(path, [])


def test_captions_and_panels_have_the_stated_shapes() -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    captioned = caption(frame, "title", "1.0 s", "upright", (0, 128, 0))
    assert captioned.shape == (220, 300, 3)
    np.testing.assert_array_equal(captioned[20:], frame)
    assert side_by_side([frame, frame], gap=4).shape == (200, 604, 3)
