"""Runs one call of a method where operations go now, and repeats it where that is right."""
