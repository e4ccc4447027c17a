"""Calls that run on threads of their own."""

import threading
from collections.abc import Callable
from typing import Any


class BackgroundCall:
    """A call on a thread of its own, with its result or its error."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return not self._thread.is_alive()

    def ends_within(self, seconds: float) -> bool:
        """Wait for so long at most; return whether the call has ended."""
        self._thread.join(seconds)
        return self.is_over

    def wait(self, within: float = 10.0) -> "BackgroundCall":
        """Wait for the end of the call; fail if it takes longer."""
        assert self.ends_within(within), f"the call has not ended within {within:g} s"
        return self
