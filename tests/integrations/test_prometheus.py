"""Metrics before, during and after a failover, and the alert rules."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.integrations.prometheus import FailoverMetrics
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.waiting import eventually

ALERTS = Path(__file__).parents[2] / "docs" / "monitoring" / "alerts.yml"


def test_a_failover_shows_in_every_metric(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    registry = CollectorRegistry()
    with _client(blue, green) as client:
        FailoverMetrics(registry).watch(client, "shop")
        shop: Any = client.get_map("shop").blocking()
        shop.put("bolts", 3)
        eventually(lambda: _value(registry, "on_primary") == 1)
        eventually(lambda: _value(registry, "cluster_up", cluster="green") == 1)
        eventually(lambda: (_value(registry, "health_check_latency_seconds", cluster="blue") or 0) > 0)
        blue.kill()
        assert shop.get("bolts") is None
        eventually(lambda: _value(registry, "on_primary") == 0)
        eventually(lambda: _value(registry, "cluster_up", cluster="blue") == 0)
        eventually(lambda: _value(registry, "switches_total", reason="connection-lost") == 1)
        assert _value(registry, "switch_duration_seconds_count") == 1
        eventually(lambda: _value(registry, "operations_waiting") == 0)  # written every second


def test_events_that_a_listener_misses_are_counted(blue: LocalCluster) -> None:
    registry, release = CollectorRegistry(), threading.Event()
    failover = FailoverConfig()
    failover.add_cluster("blue", blue.addresses)
    with HazelcastClient(failover, listener_queue_events=1) as client:
        FailoverMetrics(registry).watch(client, "shop")
        topic: Any = client.get_topic("counted").blocking()
        topic.add_listener(lambda _: release.wait(10))
        for number in range(5):
            topic.publish(number)
        eventually(lambda: (_value(registry, "events_dropped_total") or 0) >= 3)
        release.set()


@pytest.mark.parametrize("text", ["\ud800", "\x1b[2J", "a\nb", "x" * 10**6], ids=ascii)
def test_values_of_labels_are_printable_and_bounded(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    failover = FailoverConfig()
    failover.add_cluster("blue", ["127.0.0.1:1"])
    client, registry = HazelcastClient(failover), CollectorRegistry()
    status = client.status()
    told = replace(status.clusters[0], label=text, latency_ms=1.0)
    monkeypatch.setattr(client, "status", lambda: replace(status, state=State.OFFLINE, clusters=(told,)))
    FailoverMetrics(registry).watch(client, text)
    generate_latest(registry).decode()
    values = [
        value for metric in registry.collect() for one in metric.samples for value in one.labels.values()
    ]
    assert values and all(value.isprintable() and len(value) <= 256 for value in values)


def test_an_unused_client_is_not_off_the_primary(blue: LocalCluster) -> None:
    registry = CollectorRegistry()
    client = _client(blue)
    FailoverMetrics(registry).watch(client, "shop")
    assert _value(registry, "on_primary") is None
    client.shutdown()


def test_a_client_that_reaches_nothing_is_off_the_primary(start_cluster) -> None:
    blue = start_cluster("blue")
    registry = CollectorRegistry()
    with _client(blue) as client:
        FailoverMetrics(registry).watch(client, "shop")
        blue.kill()
        eventually(lambda: client.status().state == "offline")
        eventually(lambda: _value(registry, "on_primary") == 0)
        eventually(lambda: _value(registry, "cluster_up", cluster="blue") == 0)
        with contextlib.suppress(ClientOfflineException):
            cast("Any", client.get_map("shop").blocking()).get("bolts")


def test_processes_add_up_in_multiprocess_mode(blue: LocalCluster, tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import os, struct, time
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess
        from flask_hazelcast_failover import FailoverConfig, HazelcastClient
        from flask_hazelcast_failover.integrations.prometheus import FailoverMetrics
        clusters = FailoverConfig()
        clusters.add_cluster("blue", {blue.addresses!r})
        metrics = FailoverMetrics()
        def collected(read):
            deadline = time.monotonic() + 5
            while True:
                registry = CollectorRegistry()
                multiprocess.MultiProcessCollector(registry)
                try:
                    return read(registry)
                except struct.error:  # prometheus-client reads a file that another process is just making
                    if time.monotonic() > deadline:
                        raise
        def on_primary(registry):
            return registry.get_sample_value("hazelcast_failover_on_primary", {{"app": "shop"}})
        pids = []
        for _ in range(2):
            ready, done = os.pipe(), os.pipe()
            pid = os.fork()
            if not pid:
                os.close(done[1])
                client = HazelcastClient(clusters)
                metrics.watch(client, "shop")
                client.start()
                deadline = time.monotonic() + 5
                while time.monotonic() < deadline and collected(on_primary) != 1:
                    time.sleep(0.01)
                os.write(ready[1], b"!")
                os.read(done[0], 1)
                os._exit(0)
            os.close(ready[1])
            assert os.read(ready[0], 1), "the child has ended"
            pids.append((pid, done))
        print(collected(generate_latest).decode())
        for pid, done in pids:
            os.write(done[1], b"!")
            os.waitpid(pid, 0)
    """)
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert 'hazelcast_failover_on_primary{app="shop"} 1.0' in done.stdout
    assert 'hazelcast_failover_cluster_up{app="shop",cluster="blue"} 1.0' in done.stdout


def test_the_alert_rules_are_valid() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: apt-get install prometheus"
    done = subprocess.run(
        [promtool, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alert_off_the_primary_fires_after_five_minutes(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: apt-get install prometheus"
    case = tmp_path / "case.yml"
    case.write_text(
        textwrap.dedent(f"""
        rule_files: ["{ALERTS}"]
        evaluation_interval: 1m
        tests:
          - interval: 1m
            input_series:
              - series: 'hazelcast_failover_on_primary{{app="shop"}}'
                values: '1 1 0x10'
            alert_rule_test:
              - eval_time: 6m
                alertname: HazelcastNotOnPrimary
              - eval_time: 8m
                alertname: HazelcastNotOnPrimary
                exp_alerts:
                  - exp_labels: {{severity: warning, app: shop}}
                    exp_annotations:
                      summary: "shop has not been on its primary Hazelcast cluster for 5 minutes"
                      description: "See `flask hazelcast status`; once the primary is fit, `flask hazelcast reset` goes back."
        """)
    )
    done = subprocess.run([promtool, "test", "rules", str(case)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _client(*clusters: LocalCluster) -> HazelcastClient:
    config = FailoverConfig(try_count=1)
    for cluster in clusters:
        config.add_cluster(cluster.name, cluster.addresses)
    return HazelcastClient(config, health_check_interval=0.1)


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"hazelcast_failover_{name}", {"app": "shop", **labels})
