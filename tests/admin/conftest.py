"""Fixtures of the admin routes' tests."""

import pytest
from flask.testing import FlaskClient

from tests.support.apps import TOKEN, absent, make_app


@pytest.fixture
def opened() -> FlaskClient:
    """A visitor of an app with a token, whose clusters cannot be reached."""
    flask_app = make_app(absent("blue"), absent("green"), ADMIN_TOKEN=TOKEN, TRY_COUNT=1, WAIT_TIMEOUT=1)
    return flask_app.test_client()
