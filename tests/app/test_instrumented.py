"""Apps of a class that stands in the place of flask.Flask, as instrumentation puts it there."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations

import pytest
from flask import Flask
from flask.sansio.app import App

from flask_hazelcast_failover import HazelcastFailover
from tests.support.apps import absent

STEPS = {
    "instrument": "from opentelemetry.instrumentation.flask import FlaskInstrumentor\nFlaskInstrumentor().instrument()",
    "create": "import flask\napps += [flask.Flask('shop'), defining.Flask('shop')]",
    "import": "import flask_hazelcast_failover\nimport flask_hazelcast_failover.integrations.cachelib",
}
USE = """
from opentelemetry.instrumentation.flask import FlaskInstrumentor
if len(sys.argv) > 1:
    FlaskInstrumentor().uninstrument()
for app in apps:
    app.config["HAZELCAST_FAILOVER_CLUSTERS"] = "hazelcast://blue@127.0.0.1:1"
    flask_hazelcast_failover.HazelcastFailover(app)
    flask_hazelcast_failover.integrations.cachelib.HazelcastCache(app)
    flask_hazelcast_failover.integrations.cachelib.HazelcastCache(app, {}, [], {})  # as Flask-Caching does
    answer = app.test_client().get("/hazelcast/health/live")
    assert answer.status_code == 200, answer
print(len(apps))
"""


@pytest.mark.parametrize("order", list(permutations(STEPS)), ids=" ".join)
def test_an_app_may_be_instrumented_at_any_time(order: tuple[str, ...]) -> None:
    """Before or after this package is imported and the app is created; an app that is not is an app, too."""
    _use_apps(order)


def test_an_app_may_be_instrumented_no_more() -> None:
    """The class that this package has seen in flask.Flask is then no app's."""
    _use_apps(("instrument", "import", "create"), "uninstrument")


def _use_apps(order: tuple[str, ...], *undo: str) -> None:
    steps = ["import sys", "import flask.app as defining", "apps = []", *(STEPS[step] for step in order), USE]
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(steps), *undo]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2"


def test_an_app_of_a_subclass_is_taken() -> None:
    """However far it is derived."""

    class Own(Flask):
        pass

    class Derived(Own):
        pass

    flask_app = Derived("shop")
    flask_app.config["HAZELCAST_FAILOVER_CLUSTERS"] = absent("blue")
    HazelcastFailover(flask_app)


def test_another_class_of_the_same_base_is_refused() -> None:
    """As Quart's, whose apps are no WSGI apps."""

    class Quart(App):
        pass

    with pytest.raises(TypeError, match="app must be a Flask app, not a Quart"):
        HazelcastFailover(object.__new__(Quart))  # type: ignore[arg-type]
