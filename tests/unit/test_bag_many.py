"""Many recordings: bad ones do not end the run, processes that die neither, and nothing is done twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bags.many import Outcome, evaluate_many, find_bags
from demo_control.bundle import default_bundle
from demo_control.cli.main import app

from .recorded_bag import mcap_of

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")


def quick(request: Request) -> Mapping[str, Any]:
    """In a process of its own: some recordings are mean to it."""
    if "deadly" in request.path.name:
        os._exit(1)
    if "strange" in request.path.name:
        raise ZeroDivisionError("nobody foresaw this")
    return {"bag": str(request.path), "blocks": {}}


def requests(folder: Path, *names: str) -> list[Request]:
    for name in names:
        (folder / name).mkdir(parents=True)
    return [Request(folder / name) for name in names]


def test_a_process_that_dies_costs_one_recording(tmp_path: Path) -> None:
    asked = requests(tmp_path, "a", "deadly", "strange", "b")
    outcomes = {outcome.path.name: outcome for outcome in evaluate_many(asked, 2, evaluate=quick)}

    assert sorted(outcomes) == ["a", "b", "deadly", "strange"]
    assert {name for name, outcome in outcomes.items() if outcome.result is not None} == {"a", "b"}
    assert "ended the process" in outcomes["deadly"].error
    assert outcomes["strange"].error == "ZeroDivisionError: nobody foresaw this"


def never(request: Request) -> Mapping[str, Any]:
    raise AssertionError(f"{request.path} was evaluated again")


def test_what_was_kept_is_not_done_again_and_what_changed_is(tmp_path: Path) -> None:
    asked = requests(tmp_path / "bags", "a", "b", "strange")
    (asked[0].path / "file").write_text("one")
    kept = tmp_path / "kept"

    def run(evaluate: Any) -> dict[str, Outcome]:  # noqa: ANN401 - see Evaluate
        return {outcome.path.name: outcome for outcome in evaluate_many(asked, 0, kept, evaluate)}

    run(quick)
    assert len(list(kept.iterdir())) == 2
    again = run(never)
    assert (again["a"].kept, again["b"].kept) == (True, True)
    assert "was evaluated again" in again["strange"].error

    (asked[0].path / "file").write_text("other")
    changed = run(never)
    assert (changed["a"].kept, changed["b"].kept) == (False, True)
    asked[1] = replace(asked[1], settings={"step_size": 0.5})
    assert run(never)["b"].kept is False
    for file in kept.iterdir():
        file.write_text(file.read_text()[:-5])
    assert not any(outcome.kept for outcome in run(quick).values())


def growing(request: Request) -> Mapping[str, Any]:
    """A recorder writes on while its recording is evaluated."""
    before = (request.path / "file").read_text()
    (request.path / "file").write_text(before + " and more")
    return {"bag": before, "blocks": {}}


def test_a_recording_that_grows_meanwhile_is_evaluated_again(tmp_path: Path) -> None:
    asked = requests(tmp_path / "bags", "a")
    (asked[0].path / "file").write_text("one")
    kept = tmp_path / "kept"
    list(evaluate_many(asked, 0, kept, growing))
    (outcome,) = evaluate_many(asked, 0, kept, growing)

    assert outcome.kept is False
    assert outcome.result == {"bag": "one and more", "blocks": {}}


def test_what_another_version_made_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, kept = requests(tmp_path / "bags", "a"), tmp_path / "kept"
    list(evaluate_many(asked, 0, kept, quick))

    def version(name: str) -> str:
        if name != "demo-stack":
            raise PackageNotFoundError(name)
        return "999.0"

    monkeypatch.setattr("demo_control.bags.many.version", version)
    (outcome,) = evaluate_many(asked, 0, kept, quick)
    assert outcome.kept is False


def test_a_recording_named_by_its_metadata_is_all_its_files(whole_bag: Path, tmp_path: Path) -> None:
    bag, kept = tmp_path / "bag", tmp_path / "kept"
    shutil.copytree(whole_bag, bag)
    asked = [Request(bag / "metadata.yaml")]
    list(evaluate_many(asked, 0, kept, quick))
    mcap_of(bag).write_bytes(mcap_of(bag).read_bytes()[:-100])

    (outcome,) = evaluate_many(asked, 0, kept, quick)
    assert outcome.kept is False


def test_bags_are_found_in_folders_each_once(whole_bag: Path, tmp_path: Path) -> None:
    for name in ("a", "deep/b"):
        shutil.copytree(whole_bag, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no bag")

    inside = find_bags([tmp_path / "a", tmp_path / "deep", tmp_path / "a"])
    assert inside == [tmp_path / "a", tmp_path / "deep" / "b"]
    shutil.copy(mcap_of(whole_bag), tmp_path / "deep" / "loose.mcap")
    # A folder with a recording's file in it is a recording.
    assert find_bags([tmp_path / "deep"]) == [tmp_path / "deep"]
    (tmp_path / "deep" / "loose.mcap").unlink()
    assert find_bags([tmp_path]) == [tmp_path / "a", tmp_path / "deep" / "b"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="no bag"):
        find_bags([tmp_path / "empty"])
    with pytest.raises(BagError, match="no such bag"):
        find_bags([tmp_path / "nowhere"])


def test_a_recording_named_in_several_ways_is_found_once(whole_bag: Path, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    shutil.copytree(whole_bag, bag)
    link = tmp_path / "link"
    link.symlink_to(bag)

    assert find_bags([bag, link, tmp_path / "link" / ".." / "bag", mcap_of(bag), bag / "metadata.yaml"]) == [bag]
    # The file alone comes first, and the folder says more.
    assert find_bags([mcap_of(bag), bag]) == [bag]
    assert find_bags([mcap_of(bag), mcap_of(link)]) == [mcap_of(bag)]
    shutil.copytree(bag, bag / "older")  # a recording inside of another is one of its own
    assert find_bags([bag, bag / "older"]) == [bag, bag / "older"]


def test_a_compressed_file_alone_in_a_folder_is_a_recording(whole_bag: Path, tmp_path: Path) -> None:
    packed = tmp_path / "bags" / "packed"
    packed.mkdir(parents=True)
    file = packed / f"{mcap_of(whole_bag).name}.zstd"
    file.write_bytes(zstandard.ZstdCompressor().compress(mcap_of(whole_bag).read_bytes()))

    assert find_bags([packed]) == find_bags([packed.parent]) == [packed]
    result = CliRunner().invoke(app, ["bag", "compare", str(packed), str(packed), "--jobs", "1", "--json", "-"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["b"]["bags"] == [str(packed)]


def test_a_folder_is_summed_up_with_its_bad_bag_named(whole_bag: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bags"
    for name in ("a", "b", "bad"):
        shutil.copytree(whole_bag, folder / name)
    mcap_of(folder / "bad").write_bytes(b"nothing of a recording")
    arguments = ["bag", "evaluate", str(folder), "--jobs", "1", "--out", str(tmp_path / "kept"), "--json", "-"]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    report = json.loads(result.stdout)
    assert [Path(bag["bag"]).name for bag in report["bags"]] == ["a", "b"]
    assert [Path(bag["bag"]).name for bag in report["failed"]] == ["bad"]
    assert "not an MCAP file" in report["failed"][0]["error"]
    summary, one = report["summary"]["cartpole"], evaluate_bag(Request(whole_bag))
    assert (summary["bags"], summary["bit_exact"]) == (2, 2)
    cost = next(figure for figure in summary["figures"] if figure["figure"] == "cost_per_second")
    assert cost["all"] == cost["p50"] == pytest.approx(one["task_metrics"]["cost_per_second"])
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["evaluate", "BAG"], ["--json", "TAKEN/report.json"]),
        (["evaluate", "BAG", "BAG"], ["--json", "FOLDER"]),
        (["evaluate", "BAG"], ["--out", "TAKEN"]),
        (["compare", "BAG", "BAG"], ["--json", "TAKEN/report.json"]),
        (["compare", "BAG", "BAG"], ["--out", "TAKEN/kept"]),
        (["repair", "BAG"], ["--json", "FOLDER"]),
        (["info", "BAG"], ["--json", "FOLDER"]),
    ],
)
def test_what_could_not_be_written_is_refused_before_the_work(
    bag_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], options: list[str]
) -> None:
    def opened(path: Path) -> None:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr("demo_control.bags.reader.Bag.open", opened)
    (tmp_path / "taken").write_text("a file")
    named = {"BAG": str(bag_copy), "FOLDER": str(tmp_path), "TAKEN": str(tmp_path / "taken")}
    arguments = [named.get(word, word.replace("TAKEN", named["TAKEN"])) for word in (*command, *options)]
    result = CliRunner().invoke(app, ["bag", *arguments])

    assert result.exit_code == 2, result.output
    assert "directory" in result.output
    assert result.output.count("\n") == 1
    assert (tmp_path / "taken").read_text() == "a file"


def test_nothing_is_evaluated_before_it_is_known_that_all_is_there(
    whole_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo_control.cli.bag_judgement.evaluate_many", lambda *_: pytest.fail("evaluated"))
    file = tmp_path / "file"
    file.touch()
    bag, no_folder = str(whole_bag), f"democtl: {file}: Not a directory\n"
    for words, told in (
        (["compare", bag, str(tmp_path / "other")], f"democtl: {tmp_path / 'other'}: no such bag\n"),
        (["compare", bag, bag, "--out", str(file)], no_folder),
        (["evaluate", bag, "--out", str(file)], no_folder),
    ):
        done = CliRunner().invoke(app, ["bag", *words])
        assert (done.exit_code, done.stderr) == (2, told)


@pytest.mark.parametrize("words", [("evaluate",), ("evaluate", "--out", "kept"), ("compare", "again")])
def test_a_judgement_that_cannot_be_written_was_shown(
    words: tuple[str, ...], whole_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.json")

    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole_bag, "again")
    monkeypatch.setattr("demo_control.cli.output.write_text_atomically", full_disk)
    name, *more = words
    done = CliRunner().invoke(app, ["bag", name, str(whole_bag), *more, "--jobs", "1", "--json", "report.json"])

    assert done.exit_code == 2
    assert "cost" in done.stderr
    assert done.stderr.endswith("democtl: report.json: No space left on device\n")
