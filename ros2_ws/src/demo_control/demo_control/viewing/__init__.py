"""The view of a running robot, or of a recording, in Rerun; only this needs the extra ``view``."""
