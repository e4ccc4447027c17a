"""Metrics for Prometheus: the current cluster and the cost of switches. ``docs/monitoring`` has the alert rules."""

from __future__ import annotations

import os

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from example_app.extensions import ext
from flask_hazelcast_failover.integrations.prometheus import FailoverMetrics

__all__ = ["init_app"]

_metrics = FailoverMetrics()


def init_app(app: Flask) -> None:
    """Watch the app's client and serve ``/metrics`` for all workers."""
    with app.app_context():
        _metrics.watch(ext.client, app.name)

    @app.get("/metrics")
    def metrics() -> Response:
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
