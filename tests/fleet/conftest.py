"""Fixtures of the fleet's tests."""

from tests.support.fleet import begin, start

__all__ = ["begin", "start"]
