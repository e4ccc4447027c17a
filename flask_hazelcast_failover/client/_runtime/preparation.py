"""Preparing a link to be the active one: its proxies are made and its listeners registered, while answers come."""

from __future__ import annotations

from .._api.listeners import Listeners
from .._connect.future_batch import Cancelled
from .._connect.link import Link
from .._connect.proxy_making import make_proxies_in_use
from .health_monitor import is_responsive


class Preparation:
    """Prepares links, each on a thread of its own.

    :param listeners: the client's listeners
    :param timeout: seconds without an answer after which a link is given up
    """

    def __init__(self, listeners: Listeners, timeout: float) -> None:
        self._listeners = listeners
        self._timeout = timeout
        # The links being prepared, with the token of the latest time; single steps of a dict by any thread.
        self._links: dict[Link, object] = {}

    def begin(self, link: Link) -> object:
        """A link is wanted; gives the token of this preparation."""
        token = self._links[link] = object()
        return token

    def cancel(self, link: Link) -> None:
        """A link is not wanted any more, whether it is prepared or not."""
        self._links.pop(link, None)

    def is_needed(self) -> bool:
        """Whether there are listeners to register."""
        return not self._listeners.is_empty()

    def carry_out(self, link: Link, active: Link | None, token: object) -> str | None:
        """Prepare a link; why it cannot be.

        :param active: where operations go meanwhile, if anywhere
        :param token: what ``begin`` gave
        :raises Cancelled: it is not wanted any more
        """
        try:
            # A graceful switch first requires that a majority of members responds.
            if active is not None and not is_responsive(link, self._timeout):
                return "it does not answer"
            if active is not None:
                make_proxies_in_use(link, active)
            self._listeners.register_on(link, self._timeout, is_wanted=lambda: self._links.get(link) is token)
        except Cancelled:
            raise
        except Exception as failure:
            return f"its listeners cannot be registered: {failure}"
        if link not in self._links:
            self._listeners.deregister_from(link)
            raise Cancelled("cancelled when it was prepared")
        return None
