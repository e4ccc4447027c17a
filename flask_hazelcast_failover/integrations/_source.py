"""Which client an integration uses. It is looked up at each operation, since caches and storages are often
created before the app.
"""

from __future__ import annotations

from flask import Flask, current_app, has_app_context

from .._app_state import current_state, state_of
from .._extension import HazelcastFailover
from .._flask_app import is_flask_app, unproxied
from ..client import HazelcastClient


class ClientSource:
    """Looks up a client.

    :param given: a client; an extension, for the client of the current app; an app, for that app's client; or
        ``None``, for the client of the current app; of a proxy, what it stands for now
    :raises TypeError: for anything else
    :raises RuntimeError: for a proxy that stands for nothing now
    """

    def __init__(self, given: HazelcastClient | HazelcastFailover | Flask | None) -> None:
        given = unproxied("client", given)
        if not isinstance(given, (HazelcastClient, HazelcastFailover, type(None))) and not is_flask_app(
            given
        ):
            raise TypeError(
                "client must be a HazelcastClient or the HazelcastFailover extension, or be left out for the"
                f" extension of the current app, not a {type(given).__name__}"
            )
        self._given = given

    @property
    def app(self) -> Flask | None:
        """The app whose client it is, if the client is looked up by app."""
        if is_flask_app(self._given):
            return self._given
        if self._given is None and has_app_context():
            return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
        return None

    def client(self) -> HazelcastClient:
        """The client now.

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
