"""Decides where operations go, from messages and without any input or output of its own."""
