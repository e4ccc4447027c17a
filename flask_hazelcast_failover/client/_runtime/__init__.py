"""Carries out what the controller decides, and posts messages to it."""
