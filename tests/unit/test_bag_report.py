"""The page about recordings: what stands on it, that it needs nothing else, and that it trusts no recording."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from typer.testing import CliRunner

from demo_control.bags.errors import BagError
from demo_control.bags.reader import Bag
from demo_control.bags.recording import Recording
from demo_control.bundle import default_bundle
from demo_control.cli.main import app
from demo_control.report.bag_contents import Span
from demo_control.report.bag_reading import read_contents
from demo_control.report.bag_report import MOST_SECTIONS, write_report
from demo_control.report.bag_section import Section
from demo_control.report.realised_costs import realised_costs
from demo_control.report.time_plots import happened, marks
from demo_control.tasks import load_task

from .browser import Browser, browser_is_here
from .recorded_bag import (
    KIND,
    START_NS,
    RobotRecorder,
    definition_of,
    mcap_of,
    messages,
    observation,
    record_cartpole,
    write_observations,
)

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")

EVIL = "</script><script>window.evil=1</script><img src=x onerror=window.evil=1>"
HEADINGS = ["Costs", "Commands", "Observations", "Model error", "Timing", "Limits", "Figures", "Provenance"]
NO_NETWORK = re.compile(r"url\(|@import|https?://")


class Page(html.parser.HTMLParser):
    """Tags, texts and scripts of a page; fails on tags that are not closed."""

    EMPTY = frozenset({"meta", "img", "br", "link"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(self.text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def headings(self) -> list[str]:
        return re.findall(r"<h2[^>]*>([^<]*)</h2>", self.text)

    def data(self) -> dict[str, Any]:
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.text, re.DOTALL)
        assert found is not None
        return json.loads(found[1])

    def scripts(self) -> int:
        return self.text.count("<script")


def report(folder: Path, *bags: Path, video: bool = False) -> tuple[Page, list[Section]]:
    sections = write_report(bags, folder / "page.html", video=video)
    return Page(folder / "page.html"), sections


def levels(section: Section) -> list[str]:
    return [verdict.level for verdict in section.verdicts]


def test_the_page_has_every_section_and_needs_nothing_from_outside(whole_bag: Path, tmp_path: Path) -> None:
    page, (section,) = report(tmp_path, whole_bag)

    assert page.headings() == HEADINGS
    assert NO_NETWORK.search(page.text) is None
    links = [text or "" for _, attributes in page.tags for name, text in attributes.items() if name in ("src", "href")]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert len(page.text) < 5_000_000
    plots = page.data()["plots"]
    boxes = [attributes["id"] for tag, attributes in page.tags if attributes.get("class") == "plot"]
    assert sorted(plots) == sorted(map(str, boxes))
    assert {"bag1-happened", "bag1-observations-4", "bag1-commands-0", "bag1-timing-0"} <= set(plots)
    assert all(plot["data"] for plot in plots.values())
    assert section.verdicts[0].answer == "Not known", "the driver told no result"
    assert section.verdicts[1].answer == "Yes, bit for bit"
    assert section.verdicts[3].level == section.verdicts[4].level == "good"
    assert section.notes == []
    assert "no video was asked for" in page.text
    assert "Partial" not in page.text


def test_the_same_recording_gives_the_same_plots(whole_bag: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert report(tmp_path, whole_bag)[0].data() == report(tmp_path / "other", whole_bag)[0].data()


def test_texts_of_a_recording_run_nowhere(whole_bag: Path, tmp_path: Path) -> None:
    evil = record_evil(tmp_path / "evil")
    page, (section,) = report(tmp_path, evil)
    (tmp_path / "good").mkdir()
    harmless, _ = report(tmp_path / "good", whole_bag)

    assert page.scripts() == harmless.scripts()
    assert [tag for tag, _ in page.tags if tag == "img"] == []
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert any(EVIL in text for text in page.texts), "it is shown as the text it is"
    happened = json.dumps(page.data()["plots"]["bag1-happened"])
    assert "&lt;img" in happened, "Plotly would make something of it"
    assert "<img" not in happened
    assert section.verdicts[0].answer == "No"


def record_evil(folder: Path) -> Path:
    recorder = RobotRecorder(folder)
    say = recorder.scribe.say

    def lie(topic: str, kind: str, stamp_ns: int, **fields: Any) -> None:  # noqa: ANN401 - of the type
        if topic == "/action" and fields["source"] != "demo_layer":
            fields["source"] = f"policy:{EVIL}"
        if topic == "/planner_status":
            fields.update(accepted=False, rejection_reason=EVIL)
            fields["cost_terms"] = [f"{name}{EVIL}" for name in fields["cost_terms"]]
        say(topic, kind, stamp_ns, **fields)

    recorder.scribe.say = lie  # type: ignore[method-assign]
    recorder.activate()
    recorder.run(40)
    say(f"/{EVIL}", KIND, START_NS, sequence=0, values=np.zeros(1))
    say(
        "/walking_state", "demo_msgs/msg/WalkingState", START_NS + 10**8, state=EVIL, reason=EVIL, duration_s=0.0,
        services=[],
    )  # fmt: skip
    recorder.scribe.say_text("/run_result", START_NS + 10**9, json.dumps({"success": False, EVIL: EVIL}))
    return recorder.close()


def test_a_damaged_recording_gives_a_page_that_says_so(bag_copy: Path, tmp_path: Path) -> None:
    file = mcap_of(bag_copy)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    page, (section,) = report(tmp_path, bag_copy)

    assert "Partial: not everything" in page.text
    assert section.verdicts[-1].level == "bad"
    assert section.notes
    assert page.headings() == HEADINGS


def test_several_recordings_share_a_page_and_one_that_cannot_be_read_ends_nothing(
    whole_bag: Path, bag_copy: Path, tmp_path: Path
) -> None:
    page, sections = report(tmp_path, whole_bag, tmp_path / "nowhere", bag_copy)

    assert page.headings()[0] == "Overview"
    assert page.headings().count("Costs") == 2
    assert sections[1].verdicts == []
    assert "nowhere: no such bag" in page.text
    assert {name.split("-")[0] for name in page.data()["plots"]} == {"bag1", "bag3"}


def test_what_was_never_recorded_is_said_to_be_missing(tmp_path: Path) -> None:
    write_observations(tmp_path / "bag", 30).close()

    page, (section,) = report(tmp_path, tmp_path / "bag")

    assert levels(section) == ["unknown", "unknown", "unknown", "unknown", "good"]
    assert "nothing was commanded in this recording" in section.verdicts[1].detail
    assert page.text.count("The recording holds no data for this.") == 5
    assert len(section.plots["Observations"]) == 5


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda folder: folder / "nowhere", "no such bag"),
        (lambda folder: write_observations(folder / "empty", 0).close() or folder / "empty", "no message in it"),
    ],
)
def test_nothing_to_show_is_one_line(make: Callable[[Path], Path], text: str, tmp_path: Path) -> None:
    bag = make(tmp_path)
    result = CliRunner().invoke(app, ["report", str(bag), "--out", str(tmp_path / "page.html")])

    assert result.exit_code == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "page.html").exists()


def test_too_many_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="one page takes at most"):
        write_report([tmp_path] * (MOST_SECTIONS + 1), tmp_path / "page.html")


def test_the_command_tells_the_verdicts(whole_bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    result = CliRunner().invoke(app, ["report", str(whole_bag), "--out", str(out), "--no-video"])

    assert result.exit_code == 0, result.stderr
    assert "Does the same come out again? Yes, bit for bit" in result.stderr
    assert str(out) in result.stderr.replace("\n", "")
    assert out.is_file()


def test_realised_costs_are_the_tasks_own_over_each_plans_horizon(tmp_path: Path) -> None:
    bag = record_cartpole(tmp_path / "bag", 60)
    task = load_task("cartpole")
    contents = read_contents(Bag.open(bag))
    found = realised_costs(contents, task, contents.settings)
    assert found is not None

    observations = contents.observations.values
    actions = contents.commands.values
    # A command is in force from the observation after the one it answers.
    before = np.concatenate([np.zeros((1, 1)), actions[:-1]])
    terms = [place for place, term in enumerate(task.cost_terms) if term.counts != "stages"]
    expected = task.stage_costs(observations, before)[:, terms] * task.cost_weights[terms]
    np.testing.assert_allclose(found.costs, expected, rtol=1e-9, atol=1e-12)

    horizon = int(contents.settings["horizon"])
    starts = np.searchsorted(contents.observations.times_s, contents.plans.starts_s - 1e-6)
    assert 0 < len(found.realised) < len(contents.plans)
    first = int(starts[0]) + 1
    weights = contents.settings["discount"] ** np.arange(horizon + 1)
    weights[-1] *= contents.settings["terminal_weight"]
    assert found.realised[0] == pytest.approx(weights @ expected[first : first + horizon + 1].sum(axis=1), rel=1e-6)


@pytest.mark.skipif(not browser_is_here(), reason="chromium and chromedriver are not installed")
@pytest.mark.timeout(300)  # a browser beside other tests
def test_chromium_draws_every_plot_at_any_width_and_prints(tmp_path: Path) -> None:
    write_report([record_evil(tmp_path / "evil")], tmp_path / "page.html", video=False)
    with Browser() as browser:
        browser.open(tmp_path / "page.html")
        wait = "while (!document.documentElement.dataset.ready) await new Promise((done) => setTimeout(done, 10));"
        browser.run(wait)
        for width, phone in ((1400, False), (390, True)):
            browser.resize(width, 900, phone=phone)
            counts = browser.run(
                "await drawAll(); const boxes = [...document.querySelectorAll('.plot')];"
                "return [boxes.length, boxes.filter((box) => box.querySelector('.main-svg')).length,"
                "boxes.filter((box) => box.querySelector('path, .point')).length,"
                "document.documentElement.scrollWidth, window.evil || 0]"
            )
            assert counts[0] == counts[1] == counts[2] > 20
            assert counts[3] <= width, "nothing hangs over the side"
            assert counts[4] == 0
        assert browser.pdf().startswith(b"%PDF")
        assert browser.console() == []


def test_marks_are_few_and_still_cover_what_they_stand_for(tmp_path: Path) -> None:
    contents = read_contents(Bag.open(record_cartpole(tmp_path / "bag", 20)))
    starts = np.arange(10_000) * 0.1
    contents.uncorrected = tuple(Span(start, start + 0.01, f"stale{place % 5}") for place, start in enumerate(starts))

    found = [mark for mark in marks(contents) if mark["kind"] == "fallback"]
    bars = happened(contents).figure.data

    assert 0 < len(found) <= 150
    assert found[0]["from"] == 0.0
    assert found[-1]["to"] == pytest.approx(starts[-1] + 0.01)
    assert all(len(bar.x) <= 2000 for bar in bars)
    assert len({bar.name for bar in bars}) >= 5


def test_vectors_of_another_size_are_left_out_and_told(tmp_path: Path) -> None:
    recording = write_observations(tmp_path / "bag", 30)
    topic = recording.add_topic("/ground_truth", KIND, definition_of(KIND), "", "[]")
    for number, size in enumerate((5, 5, 3)):
        recording.put(topic, START_NS + number, observation(np.ones(size)), START_NS + number, number + 1)
    recording.close()

    contents = read_contents(Bag.open(tmp_path / "bag"))

    assert contents.truth.values.shape == (2, 5)
    assert contents.warnings == ("/ground_truth: not of 5 values, as most are (1 messages)",)


def with_other_fields(bag: Path, folder: Path, kind: str, changes: dict[str, str]) -> Path:
    """The same recording with another definition of a type; fields that are text then say 'x'."""
    text = definition_of(kind)
    for field, changed in changes.items():
        assert field in text
        text = text.replace(field, changed)
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, kind))
    recording = Recording(folder, {})
    topics: dict[str, int] = {}
    for heard in Bag.open(bag).messages():
        own, data = heard.type == kind, heard.data
        if own:
            message = messages().deserialize_cdr(data, kind)
            said = {name: getattr(message, name, "x") for name, _ in store.fielddefs[kind][1]}
            said |= {changed.split()[1]: "x" for changed in changes.values() if changed.startswith("string ")}
            data = bytes(store.serialize_cdr(store.types[kind](**said), kind))
        if heard.topic not in topics:
            definition = text if own else definition_of(heard.type)
            topics[heard.topic] = recording.add_topic(heard.topic, heard.type, definition, "", "[]")
        recording.put(topics[heard.topic], heard.log_time_ns, data, heard.publish_time_ns, heard.sequence)
    recording.close()
    return folder


def test_plans_of_a_former_version_are_shown_without_what_it_did_not_tell(whole_bag: Path, tmp_path: Path) -> None:
    fields = ("float64 followed_share\n", "float64 ensemble_disagreement\n", "float64 observation_age_s\n")
    old = with_other_fields(whole_bag, tmp_path / "old", "demo_msgs/msg/PlannerStatus", dict.fromkeys(fields, ""))
    contents = read_contents(Bag.open(old))
    _, (section,) = report(tmp_path, old)

    assert len(contents.plans) == len(read_contents(Bag.open(whole_bag)).plans) > 0
    assert np.isnan(contents.plans.figures["followed_share"]).all()
    assert np.isfinite(contents.plans.figures["plan_cost"]).all()
    assert section.verdicts[1].answer == "Yes, bit for bit"


@pytest.mark.parametrize(
    ("kind", "field", "changed", "text"),
    [
        ("Observation", "float64[] values", "string values", "/observation: its field values is of another type"),
        ("Action", "uint64 observation_sequence\n", "", "/action: no field observation_sequence"),
        ("PlannerStatus", "string[] cost_terms\n", "", "/planner_status: no field cost_terms"),
        ("PlannerStatus", "float64 plan_cost\n", "string plan_cost\n", "/planner_status: its field plan_cost is of"),
        ("LayerState", "string settings\n", "", "/layer_state: no field settings"),
    ],
)
def test_types_with_other_fields_are_left_out_and_told(
    whole_bag: Path, tmp_path: Path, kind: str, field: str, changed: str, text: str
) -> None:
    other = with_other_fields(whole_bag, tmp_path / "other", f"demo_msgs/msg/{kind}", {field: changed})
    page, (section,) = report(tmp_path, other)

    assert any(text in line for line in section.notes)
    assert "Partial: not everything" in page.text
