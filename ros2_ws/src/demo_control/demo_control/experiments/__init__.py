"""Experiments: many training runs from one specification, resumable, and the report on them.

Nothing here imports torch: trainers are looked up by name and imported in the processes that run them.
"""
