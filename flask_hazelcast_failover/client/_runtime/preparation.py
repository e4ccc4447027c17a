"""Making a link ready to be the active one: proxies are made on it and listeners registered, as long as answers come."""

from __future__ import annotations

from flask_hazelcast_failover.client._api.listeners import Listeners
from flask_hazelcast_failover.client._connect.answers import Cancelled
from flask_hazelcast_failover.client._connect.link import Link
from flask_hazelcast_failover.client._connect.proxy_making import make_proxies_in_use
from flask_hazelcast_failover.client._runtime.health_monitor import is_responsive

__all__ = ["Preparation"]


class Preparation:
    """Makes links ready, each on a thread of the engine's.

    :param listeners: the client's listeners
    :param timeout: seconds without an answer after which a link is given up
    """

    def __init__(self, listeners: Listeners, timeout: float) -> None:
        self._listeners = listeners
        self._timeout = timeout
        # Those being made ready, with the token of the latest time; single steps of a dict by any thread.
        self._links: dict[Link, object] = {}

    def begin(self, link: Link) -> object:
        """A link is wanted; gives the token of this preparation."""
        token = self._links[link] = object()
        return token

    def call_off(self, link: Link) -> None:
        """It is not wanted any more, whether it is ready or not."""
        self._links.pop(link, None)

    def is_needed(self) -> bool:
        """Whether there are listeners to be carried along."""
        return not self._listeners.is_empty()

    def carry_out(self, link: Link, active: Link | None, token: object) -> str | None:
        """Make a link ready; why it cannot be.

        :param active: where operations go meanwhile, if anywhere
        :param token: what ``begin`` gave
        :raises CalledOff: it is not wanted any more
        """
        try:
            # While operations have somewhere to be, they are sent nowhere where most members do not answer.
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
            raise Cancelled("called off when it was ready")
        return None
