"""The one rule for pauses that grow: double after each failure, up to a limit."""

from __future__ import annotations

# A float cannot hold many more doublings; by then the pause is past any limit.
_MOST_DOUBLINGS = 64


def backoff(first: float, failures: int, longest: float) -> float:
    """The pause after a number of failures in a row, seconds.

    :param first: the pause after the first failure
    :param failures: how many there were, 1 or more
    :param longest: the limit
    """
    return min(longest, first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
