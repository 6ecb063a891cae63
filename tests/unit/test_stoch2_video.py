"""Pictures and videos of walking Stoch2s, with whatever this machine can draw."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from demo_control.report.video import footer
from stoch2_sim.pictures.painting import Frame
from stoch2_sim.pictures.process import PictureError
from stoch2_sim.robots.stoch2 import video
from stoch2_sim.robots.stoch2.kinematics import feet_in_body
from stoch2_sim.robots.stoch2.mjcf import coordinates, joints_of
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.pictures import BACKENDS, Pictures, link_points, push_arrow
from stoch2_sim.robots.stoch2.placement import neutral_stance
from stoch2_sim.simulators.protocol import Array

CENTRE = np.array([0.0, 0.0, 0.2])


def pose(x: float = 0.0, yaw: float = 0.0, tilt: float = 0.0) -> Array:
    """Coordinates of a robot that stands somewhere, turned or tilted to a side."""
    turn = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
    lean = np.array([np.cos(tilt / 2), np.sin(tilt / 2), 0.0, 0.0])
    orientation = turn if tilt == 0.0 else lean
    return coordinates(np.array([x, 0.0, 0.246]), orientation, neutral_stance())


def walk(speed: float, yaw_rate: float, seconds: float = 2.0, tilt: float = 0.0) -> video.WalkRun:
    """A robot that glides."""
    times = np.arange(0.0, seconds, 0.005)
    yaws = yaw_rate * times
    qpos = np.array([pose(0.0, yaw, tilt if time > 1.5 else 0.0) for time, yaw in zip(times, yaws, strict=True)])
    headings = np.stack([np.cos(yaws), np.sin(yaws)], axis=1)
    qpos[:, :2] = np.cumsum(speed * 0.005 * headings, axis=0)
    forces = np.zeros((len(times), 3))
    forces[200:206] = [0.0, -120.0, 0.0]
    return video.WalkRun("a walk", times, qpos, np.tile([speed, 0.0, yaw_rate], (len(times), 1)), forces)


def red(frame: Frame) -> int:
    """How many pixels are as red as the arrow."""
    colours = frame.astype(int)
    return int(((colours[..., 0] > 120) & (colours[..., 1:].max(axis=-1) < 60)).sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_draws_robot_and_push(backend: str) -> None:
    robot = RobotParameters(terrain="slope", slope_deg=8.0)
    try:
        pictures = Pictures(320, 200, robot, backends=[backend])
    except PictureError:
        if backend == "matplotlib":
            raise
        pytest.skip(f"{backend} does not work on this machine")
    with pictures:
        calm = pictures.draw(*pose(), *CENTRE, 0.0, 0.0, 0.0)
        pushed = pictures.draw(*pose(), *CENTRE, 0.0, -120.0, 0.0)
        elsewhere = pictures.draw(*pose(x=0.1), *CENTRE, 0.0, 0.0, 0.0)
        again = pictures.draw(*pose(), *CENTRE, 0.0, 0.0, 0.0)
    assert calm.shape == (200, 320, 3)
    assert red(pushed) > red(calm) + 40
    assert np.abs(elsewhere.astype(int) - calm).max() > 50
    np.testing.assert_array_equal(again, calm)


def test_pictures_larger_than_the_description_s_are_drawn_by_mujoco_too() -> None:
    try:
        Pictures(64, 48, RobotParameters(), backends=["mujoco-egl"]).close()
    except PictureError:
        pytest.skip("mujoco-egl does not work on this machine")
    with Pictures(1300, 730, RobotParameters(), backends=["mujoco-egl"]) as pictures:
        assert (pictures.width, pictures.height) == (1300, 730)


def test_the_drawn_bars_are_those_of_the_robot() -> None:
    joints = neutral_stance() + np.random.default_rng(0).uniform(-0.2, 0.2, (4, 3))
    points = link_points(joints)
    np.testing.assert_allclose(points[:, 2], feet_in_body(joints), atol=1e-12)
    lengths = [np.linalg.norm(points[:, a] - points[:, b], axis=1) for a, b in ((0, 1), (1, 2), (3, 4), (4, 5))]
    np.testing.assert_allclose(lengths, np.repeat([[0.12], [0.15015], [0.04], [0.15501]], 4, axis=1), atol=1e-9)
    qpos = coordinates(np.zeros((3, 3)), np.tile([1.0, 0.0, 0.0, 0.0], (3, 1)), np.tile(joints, (3, 1, 1)))
    assert qpos.shape == (3, 27)
    np.testing.assert_array_equal(joints_of(qpos)[1], joints)


def test_arrows_end_at_the_trunk_and_grow_with_the_push() -> None:
    weak, strong = (push_arrow(np.zeros(3), np.array([0.0, force, 0.0])) for force in (60.0, 120.0))
    np.testing.assert_allclose(weak[1], strong[1])
    assert strong[0][1] < weak[0][1] < weak[1][1] < 0.0


def test_runs_tell_their_speeds_pushes_and_falls() -> None:
    run = walk(0.3, 0.5, tilt=1.0)
    np.testing.assert_allclose(run.speeds(1.0), [0.3, 0.5], atol=2e-3)
    assert not run.push(0.9).any()
    assert run.push(1.01)[1] == run.push(1.3)[1] == -120.0
    assert not run.push(1.5).any()
    assert not run.fallen(1.4)
    assert run.fallen(1.6)
    assert [run.index(time) for time in (-1.0, 0.0, 0.0051, 9.0)] == [0, 0, 1, 399]
    with pytest.raises(ValueError, match="a walk: a run needs samples"):
        video.WalkRun("a walk", run.times_s[:3], run.qpos, run.commands, run.forces)


def test_walks_become_one_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "BACKENDS", ("matplotlib",))
    shares: list[float] = []
    path = tmp_path / "out" / "walks.mp4"
    runs = [walk(0.3, 0.0, 1.0), walk(0.2, 0.3)]
    assert video.render_video(path, runs, fps=5.0, progress=shares.append) == "matplotlib"
    assert shares[-1] == 1.0
    assert list(path.parent.iterdir()) == [path]
    assert imageio_ffmpeg.count_frames_and_secs(str(path))[0] == 11
    with pytest.raises(ValueError, match="at least one run"):
        video.render_video(path, [])


def test_footers_keep_the_picture() -> None:
    frame = np.full((240, 320, 3), 7, np.uint8)
    result = footer(frame, [("speed", "0.30 m/s", "asked 0.30")])
    assert result.shape == (260, 320, 3)
    np.testing.assert_array_equal(result[:240], frame)
    assert len(np.unique(result[240:])) > 2
