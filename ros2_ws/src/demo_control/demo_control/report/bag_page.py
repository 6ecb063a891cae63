"""Turns what is known of recordings into one HTML page that needs nothing else.

Texts of a recording are not to be trusted. In the page they are escaped by Jinja2, in the plots' JSON everything that
could end a script is, and the page's content security policy lets it run no script but its own two and reach no
network.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from demo_control.report.bag_section import Section
from demo_control.report.figures import Plot, words
from demo_control.report.time_plots import COMMAND_COLOURS, OBSERVATION_COLOURS
from demo_control.report.verdicts import number

LEGENDS = {"Commands": COMMAND_COLOURS, "Observations": OBSERVATION_COLOURS}


def render_page(sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        sections: One for each recording.
    """
    environment = Environment(
        loader=PackageLoader("demo_control.report"), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=number, words=words, anchor_of=_anchor)
    loader = environment.loader
    assert loader is not None
    style, script = (loader.get_source(environment, name)[0] for name in ("bag_report.css", "bag_report.js"))
    library = get_plotlyjs()
    # The same input gives the same page: no time stamp in it.
    packed = base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode()
    return environment.get_template("bag_report.html").render(
        title=", ".join(section.name for section in sections),
        sections=sections,
        columns=list(dict.fromkeys(name for section in sections for name in section.overview)),
        legends=LEGENDS,
        style=Markup(style),
        script=Markup(script),
        library=packed,
        policy=_policy(script, library),
        plots=Markup(_plots(sections)),
        videos={section.anchor: base64.b64encode(section.video).decode() for section in sections if section.video},
    )


def _anchor(title: str) -> str:
    """A heading as part of an identifier."""
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def _policy(*scripts: str) -> str:
    """Content security policy: these scripts, pictures and videos that are in the page, and nothing from outside."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; media-src data:"


def _plots(sections: Sequence[Section]) -> str:
    """All figures by identifier, and what is marked in those over time, as JSON for a script element."""
    plots: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    ends: dict[str, Any] = {}
    for section in sections:
        if section.happened is not None:
            plots[f"{section.anchor}-happened"] = _plot(section.happened)
            marks[section.anchor], ends[section.anchor] = section.marks, section.span_s
        for heading, group in section.plots.items():
            for place, plot in enumerate(group):
                plots[f"{section.anchor}-{_anchor(heading)}-{place}"] = _plot(plot)
    text = json.dumps({"plots": plots, "marks": marks, "ends": ends}, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plot(plot: Plot) -> dict[str, Any]:
    return {**json.loads(plot.figure.to_json(validate=False)), "timed": plot.timed}
