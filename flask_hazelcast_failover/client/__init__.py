"""The failover client: the official client's API over clusters that come and go. Knows no Flask."""

from flask_hazelcast_failover.client.client import HazelcastClient

__all__ = ["HazelcastClient"]
