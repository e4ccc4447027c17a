"""Prometheus metrics: the current cluster, the state of each cluster, and what switches cost.

Metrics are written once a second, not collected at a scrape, so that they work in the multiprocess mode of
prometheus-client: each process writes its own, and any process answers the scrape.
"""

from __future__ import annotations

import threading
import time
import weakref

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from .._flask_app import unproxied
from .._foreign_text import MAX_NAME, printable
from .._threads import ServiceThread, reset_in_child, resting
from ..client import HazelcastClient
from ..client.events import ClusterSwitched, Event

__all__ = ["FailoverMetrics"]

_INTERVAL = 1.0
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class FailoverMetrics:
    """The metrics of the clients in this process. Create one for a registry and watch each app's client.

    :param registry: where the metrics are registered
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def gauge(name: str, text: str, mode: str, labels: tuple[str, ...] = ("app",)) -> Gauge:
            name = f"hazelcast_failover_{name}"
            return Gauge(name, text, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        def counter(name: str, text: str, labels: tuple[str, ...] = ("app",)) -> Counter:
            return Counter(f"hazelcast_failover_{name}", text, labels, registry=registry)

        by_cluster = ("app", "cluster")
        self._on_primary = gauge("on_primary", "1 if every process is on the primary cluster", "livemin")
        self._up = gauge("cluster_up", "1 if every process is connected to it", "livemin", by_cluster)
        self._impaired = gauge("cluster_impaired", "1 if some members fail checks", "livemax", by_cluster)
        self._latency = gauge(
            "health_check_latency_seconds", "slowest answer of the last checks", "livemax", by_cluster
        )
        self._waiting = gauge("operations_waiting", "operations that wait for a switch", "livesum")
        self._repeated = counter("operations_repeated", "operations repeated after a loss")
        self._unknown = counter("operations_outcome_unknown", "operations that may or may not have run")
        self._dropped = counter("events_dropped", "events dropped because listeners were too slow")
        self._switches = counter("switches", "switches to another cluster", ("app", "reason"))
        self._duration = Histogram(
            "hazelcast_failover_switch_duration_seconds",
            "from the loss, or the request, until the new cluster is used",
            ("app",),
            buckets=_BUCKETS,
            registry=registry,
        )

    def watch(self, client: HazelcastClient, app: str = "") -> None:
        """Keep the metrics of a client up to date from now on. Connects nothing.

        :param client: in an app, ``ext.client``
        :param app: the value of the label ``app``
        """
        client = unproxied("client", client)
        watched = _Watched(self, weakref.ref(client), app)
        watched.write()
        client.subscribe(watched.receive)
        if client.status().state != "idle":
            watched.sample()  # it is connected already, and its next event may be far off


class _Watched:
    """Writes one client's metrics at each event, and every second once it has connected."""

    def __init__(self, metrics: FailoverMetrics, client: weakref.ref[HazelcastClient], app: str) -> None:
        self._metrics = metrics
        self._client = client
        self._app = printable(app, MAX_NAME)
        self._lock = threading.Lock()
        self._repeated = self._unknown = self._dropped = 0  # as last written, under _lock
        self._sampler = ServiceThread(self._sample, "hazelcast-failover-metrics")
        reset_in_child(self, _Watched._reset_after_fork)

    def receive(self, event: Event) -> None:
        """Count a switch and update the metrics."""
        if isinstance(event, ClusterSwitched):
            self._metrics._switches.labels(self._app, str(event.reason)).inc()
            self._metrics._duration.labels(self._app).observe(event.duration)
        self.write()
        self.sample()

    def sample(self) -> None:
        """Start writing every second, on one thread."""
        self._sampler.start()

    def write(self) -> bool:
        """Write the metrics; return ``False`` once the client is closed or collected."""
        client = self._client()
        if client is None:
            return False
        metrics, app, status = self._metrics, self._app, client.status()
        if status.state == "idle":
            return True  # a process that has not used its client counts neither as on nor off the primary
        metrics._on_primary.labels(app).set(status.on_primary)
        for cluster in status.clusters:
            label = printable(cluster.label, MAX_NAME)
            metrics._up.labels(app, label).set(cluster.members > 0)
            metrics._impaired.labels(app, label).set(cluster.impaired)
            if cluster.latency_ms is not None:
                metrics._latency.labels(app, label).set(cluster.latency_ms / 1000)
        counts = client.operation_counts()
        metrics._waiting.labels(app).set(counts.waiting)
        with self._lock:
            metrics._repeated.labels(app).inc(max(0, counts.repeated - self._repeated))
            metrics._unknown.labels(app).inc(max(0, counts.unknown - self._unknown))
            metrics._dropped.labels(app).inc(max(0, counts.dropped_events - self._dropped))
            self._repeated, self._unknown = counts.repeated, counts.unknown
            self._dropped = counts.dropped_events
        return status.state != "closed"

    def _sample(self) -> None:
        sampler = self._sampler
        while self.write() and sampler is self._sampler:  # a forked child inherits running greenlets
            with resting():
                time.sleep(_INTERVAL)

    def _reset_after_fork(self) -> None:
        self._lock = threading.Lock()
        self._sampler = ServiceThread(self._sample, "hazelcast-failover-metrics")
