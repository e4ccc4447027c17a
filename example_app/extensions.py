"""The extensions of the shop, made once and bound to an app by ``create_app``."""

from flask_hazelcast_failover import HazelcastFailover

ext = HazelcastFailover()
