"""``client.failover``: a live, read-only view of the clusters and of which one is current."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ...failover import FailoverConfig
from ...failover.view import FailoverView, Position


class ReadOnlyFailover(FailoverView):
    """A live view of the clusters of a client. Only the client changes which of them is current.

    :param describe: describes each cluster, for the error when the client is on none
    """

    def __init__(
        self, config: FailoverConfig, current_index: Callable[[], int], describe: Callable[[], str]
    ) -> None:
        super().__init__()
        self._config = config
        self._current_index = current_index
        self._describe = describe

    @property
    def try_count(self) -> int:
        """Connection attempts per cluster before switching."""
        return self._config.try_count

    def copy(self) -> FailoverConfig:
        """Return a configuration with the same clusters at the first one, which can be changed."""
        duplicate = self._config.copy()
        duplicate.reset()
        return duplicate

    def add_cluster(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise ``TypeError``: the clusters of a client do not change."""
        self._refuse("add_cluster")

    def add_cname_cluster(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise ``TypeError``: the clusters of a client do not change."""
        self._refuse("add_cname_cluster")

    def switch_to_next_cluster(self) -> NoReturn:
        """Raise ``TypeError``: the client moves by itself, or by ``client.switch_to()``."""
        self._refuse("switch_to_next_cluster")

    def reset(self) -> NoReturn:
        """Raise ``TypeError``: ``client.reset()`` goes back to the highest priority."""
        self._refuse("reset")

    def _read(self) -> Position:
        return Position(self._config.clusters, self._current_index())

    def _none_left(self) -> str:
        return f"no cluster can be reached: {self._describe()}"

    def _refuse(self, method: str) -> NoReturn:
        raise TypeError(
            f"{method}() is refused, since this is a read-only view of a client's clusters: use "
            "client.reset() to go back to the highest priority, client.switch_to(label) to move on purpose"
        )
