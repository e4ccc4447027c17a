"""Whose client an integration works with: asked anew for every operation.

Caches and storages are often made before an app is: what they are given is looked up when it is used.
"""

from __future__ import annotations

from flask import Flask, current_app, has_app_context

from flask_hazelcast_failover._app_state import current_state, state_of
from flask_hazelcast_failover._extension import HazelcastFailover
from flask_hazelcast_failover.client import HazelcastClient

__all__ = ["ClientSource"]


class ClientSource:
    """Finds the client.

    :param given: a client; an extension, whose client of the current app it is; an app, whose extension's
        it is; or ``None`` for the current app's
    :raises TypeError: for anything else
    """

    def __init__(self, given: HazelcastClient | HazelcastFailover | Flask | None) -> None:
        if not isinstance(given, (HazelcastClient, HazelcastFailover, Flask, type(None))):
            raise TypeError(
                "client must be a HazelcastClient or the HazelcastFailover extension, or be left out for the"
                f" extension of the current app, not a {type(given).__name__}"
            )
        self._given = given

    @property
    def app(self) -> Flask | None:
        """The app that the client belongs to, if only the app says which client it is."""
        if isinstance(self._given, Flask):
            return self._given
        if self._given is None and has_app_context():
            return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
        return None

    def client(self) -> HazelcastClient:
        """The client of this moment.

        :raises RuntimeError: outside an app context, or for an app without the extension
        """
        given = self._given
        if isinstance(given, HazelcastClient):
            return given
        if isinstance(given, HazelcastFailover):
            return given.client
        if given is not None:
            return state_of(given).client
        if not has_app_context():
            raise RuntimeError(
                "there is no current app to take the client of: use this in a request or a command, or inside"
                " 'with app.app_context():', or give client="
            )
        return current_state().client
