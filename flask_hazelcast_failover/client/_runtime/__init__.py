"""Carries the decisions of the controller out, and tells it what happens."""
