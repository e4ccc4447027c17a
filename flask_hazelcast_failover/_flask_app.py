"""What may be given where an app, an extension or a client is expected: also a proxy of it, such as ``current_app``."""

from __future__ import annotations

from typing import Any, TypeGuard

from flask import Flask
from werkzeug.local import LocalProxy


def unproxied(argument: str, value: Any) -> Any:
    """What a proxy stands for at this moment; what is no proxy as it is.

    A proxy that is kept would stand for another object in each context, and cannot be referred to weakly.

    :param argument: the argument's name, for the message
    :raises RuntimeError: the proxy stands for nothing here, as ``current_app`` outside an app context
    """
    while isinstance(value, LocalProxy):
        try:
            value = value._get_current_object()
        except RuntimeError as error:
            raise RuntimeError(
                f"{argument} is a proxy, such as current_app, that stands for nothing here: give the object itself,"
                " or do this inside 'with app.app_context():'"
            ) from error
    return value


def is_flask_app(value: object) -> TypeGuard[Flask]:
    """Whether it is a Flask app, whatever class stands in ``flask.Flask``.

    Instrumentation replaces that name by a subclass, before or after this module is imported, and apps of either
    class are apps. Neither Quart's apps nor others that only share Flask's base class are.
    """
    return any(kind.__module__ == "flask.app" and kind.__name__ == "Flask" for kind in type(value).__mro__)
