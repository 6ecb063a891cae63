"""What can be wrong with a recording as a whole."""

from __future__ import annotations


class BagError(ValueError):
    """A recording that cannot be used; the text names the file or topic, what was found and what was expected."""
