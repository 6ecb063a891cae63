"""The study of sample efficiency: its problems, its variants of the planner, and how it is run and shown."""
