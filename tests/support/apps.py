"""Flask apps for the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from flask_hazelcast_failover import HazelcastClient, HazelcastFailover
from flask_hazelcast_failover.testing import LocalCluster, free_port

TOKEN = "open-sesame"


def url_of(cluster: LocalCluster) -> str:
    """Return the URL that HAZELCAST_FAILOVER_CLUSTERS takes for a running cluster."""
    return f"hazelcast://{cluster.name}@{','.join(cluster.addresses)}"


def absent(name: str) -> str:
    """Return the URL of a cluster that is not there."""
    return f"hazelcast://{name}@127.0.0.1:{free_port()}"


def make_app(*clusters: LocalCluster | str, ext: HazelcastFailover | None = None, **settings: Any) -> Flask:
    """Return an app on these clusters, in this order; `settings` are keys without their prefix."""
    flask_app = Flask("shop")
    urls = [cluster if isinstance(cluster, str) else url_of(cluster) for cluster in clusters]
    for name, value in ({"CLUSTERS": urls} | settings).items():
        flask_app.config[f"HAZELCAST_FAILOVER_{name}"] = value
    (ext or HazelcastFailover()).init_app(flask_app)
    return flask_app


@contextmanager
def client_of(flask_app: Flask) -> Iterator[HazelcastClient]:
    """Give the app's client, not connected unless it was, and shut it down afterwards."""
    with flask_app.app_context():
        client: HazelcastClient = flask_app.extensions["hazelcast_failover"].client
    try:
        yield client
    finally:
        client.shutdown()
