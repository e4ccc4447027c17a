"""A scripted clock, and what is under way by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.scripted_clusters import QUICK, ScriptedLink

__all__ = ["ScriptedClock", "Task"]


@dataclass(eq=False)
class Task:
    """Something under way: it ends when its time has come, or when the script says."""

    what: str
    index: int
    due: float
    end: Callable[[], bool]  # false: not yet
    link: ScriptedLink | None = None

    def __repr__(self) -> str:
        return f"<{self.what} at {self.index}, due {self.due:.3f}>"


class ScriptedClock:
    """The time, and the tasks that end by it.

    :param creep: seconds that pass at each look at the clock, as on a slow machine
    """

    def __init__(self, creep: float = 0.0) -> None:
        self.time = 100.0
        self.tasks: list[Task] = []
        self._creep = creep

    def now(self) -> float:
        self.time += self._creep
        return self.time

    def begin(
        self, what: str, index: int, lasts: float, end: Callable[[], bool], link: ScriptedLink | None = None
    ) -> None:
        """Begin a task that takes so many seconds."""
        self.tasks.append(Task(what, index, self.time + lasts, end, link))

    def pending(self, what: str, index: int | None = None) -> list[Task]:
        """The tasks of a kind that are under way."""
        return [task for task in self.tasks if task.what == what and index in (None, task.index)]

    def end(self, task: Task) -> bool:
        """End a task, if it can end by now."""
        if not task.end():
            return False
        self.tasks.remove(task)
        return True

    def advance(self, at: float) -> None:
        """Go on to a time, and end what is due by then."""
        self.time = max(self.time, at)
        for task in [task for task in self.tasks if task.due <= self.time]:
            if not self.end(task):
                task.due = self.time + QUICK
