"""What belongs to one app: its settings, its client, and the control over its fleet."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Protocol

from flask import Flask, current_app, has_app_context

from ._fleet_control import FleetControl
from ._settings import Settings
from .client import HazelcastClient

KEY = "hazelcast_failover"
"""Where an app keeps its extension: ``app.extensions[KEY]``."""


@dataclass(frozen=True)
class AppState:
    """What belongs to one app. Must not refer to the app, which it would keep alive."""

    settings: Settings
    client: HazelcastClient
    fleet_control: FleetControl


class AppStates:
    """The states of the apps of one extension. Written by ``init_app``, before the app serves."""

    def __init__(self) -> None:
        self._states: weakref.WeakKeyDictionary[Flask, AppState] = weakref.WeakKeyDictionary()

    def __setitem__(self, app: Flask, state: AppState) -> None:
        self._states[app] = state

    def of(self, app: Flask) -> AppState:
        """The state of an app. Raises ``RuntimeError`` if this extension was not initialised for it."""
        state = self._states.get(app)
        if state is None:
            hint = "another HazelcastFailover has it" if KEY in app.extensions else "call ext.init_app(app)"
            raise RuntimeError(
                f"init_app() of this HazelcastFailover was not called for {app.name!r}: {hint}"
            )
        return state

    def current(self) -> AppState:
        """The state of the current app. Raises ``RuntimeError`` outside an app context, too."""
        if not has_app_context():
            raise RuntimeError(
                "ext.client was used outside an app context: it belongs to the current app. "
                "Use it in a request or a command, or inside 'with app.app_context():'"
            )
        return self.of(current_app._get_current_object())  # type: ignore[attr-defined]


class _Extension(Protocol):
    """The part of ``HazelcastFailover`` that is used here, which cannot be imported."""

    app_states: AppStates


def current_state() -> AppState:
    """The state of the current app; see ``state_of``."""
    return state_of(current_app._get_current_object())  # type: ignore[attr-defined]


def state_of(app: Flask) -> AppState:
    """The state of an app. Raises ``RuntimeError`` for an app without the extension."""
    extension: _Extension | None = app.extensions.get(KEY)
    if extension is None:
        raise RuntimeError(
            f"{app.name!r} has no HazelcastFailover extension: call init_app() of one, or give client="
        )
    return extension.app_states.of(app)
