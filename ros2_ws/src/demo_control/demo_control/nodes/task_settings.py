"""The parameters of every node that runs a task's bundle."""

from __future__ import annotations

from dataclasses import dataclass

from demo_control.bundle import Bundle, default_bundle, load_bundle
from demo_control.configuration import Settings, setting
from demo_control.tasks import Task, load_task


@dataclass(frozen=True)
class TaskSettings(Settings):
    """What every node that runs a bundle must know."""

    task: str = setting("", "Name of the installed task, for example cartpole.")
    bundle_directory: str = setting(
        "", "Folder of the model bundle; empty for the bundle that is shipped for the task."
    )

    def load(self) -> tuple[Task, Bundle]:
        """The task and its bundle.

        Raises:
            ConfigurationError: No such task.
            BundleError: The bundle does not fit.
        """
        task = load_task(self.task)
        return task, load_bundle(self.directory(), task)

    def directory(self) -> str:
        """Of the bundle."""
        return self.bundle_directory or str(default_bundle(self.task))
