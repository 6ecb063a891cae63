"""Makes .venv: what the machine must have, the stages, their stamps, and how progress is shown.

Only the standard library is used, because nothing else is there yet.
"""
