"""The failover client: the official client's API over clusters that come and go. Knows no Flask."""

from .client import HazelcastClient

__all__ = ["HazelcastClient"]
