"""``democtl report``: recordings as one page that opens without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from demo_control.bags.errors import BagError
from demo_control.files import write_text_atomically
from demo_control.report.bag_contents import bag_name
from demo_control.report.bag_page import render_page
from demo_control.report.bag_section import Section, make_section

MOST_SECTIONS = 20
"""Recordings that one page takes."""
_PLOTS_BYTES = 4_000_000
"""What the plots of a page may take, roughly; text and the library come on top."""


def write_report(
    bags: Sequence[Path],
    out: Path,
    *,
    video: bool = True,
    progress: Callable[[str, float], None] = lambda _stage, _share: None,
) -> list[Section]:
    """Evaluate recordings and write the page about them.

    Args:
        bags: Folders or files.
        out: The page; written beside and renamed.
        video: Whether to draw videos.
        progress: Told what is being done, and the finished share of all.

    Returns:
        What the page shows.

    Raises:
        BagError: Too many recordings, or the only one cannot be read at all; of several, its section says so.
        OSError: The page could not be written.
    """
    if len(bags) > MOST_SECTIONS:
        raise BagError(f"{len(bags)} recordings: one page takes at most {MOST_SECTIONS}")
    sections = []
    for place, path in enumerate(bags):
        name = bag_name(path)

        def tell(stage: str, share: float, place: int = place, name: str = name) -> None:
            progress(f"{name}: {stage}", (place + share) / len(bags))

        try:
            section = make_section(path, f"bag{place + 1}", _PLOTS_BYTES // len(bags), video=video, progress=tell)
        except BagError as error:
            if len(bags) == 1:
                raise
            section = Section(name, f"bag{place + 1}", notes=[str(error)])
        sections.append(section)
    write_text_atomically(out, render_page(sections))
    return sections
