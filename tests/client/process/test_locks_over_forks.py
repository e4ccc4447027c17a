"""Locks over forks: what a thread of the client's holds when the process forks can be taken in the child."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.client.process.conftest import clusters_of
from tests.support.relay import Relay
from tests.support.scripts import run

# `held` is a lock of the program's, as a metric or a log handler has one; `hold` takes it for a while on the calling
# thread, once. `fork_while_held` forks meanwhile.
HOLDING = """
import logging, os, threading, time
import tests.support.script_client as script
main = threading.current_thread()
held, has_begun, lines = threading.Lock(), threading.Event(), []

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

logging.getLogger("flask_hazelcast_failover").addHandler(Lines(logging.WARNING))

def hold(seconds=0.4):
    if not has_begun.is_set():
        with held:
            has_begun.set()
            time.sleep(seconds)

class Holder(logging.Handler):
    def createLock(self):
        self.lock = None
    def emit(self, record):
        if threading.current_thread() is not main:
            hold()

def hold_in_log(name):
    logging.getLogger(name).setLevel(logging.INFO)
    logging.getLogger(name).addHandler(Holder())

def warned():
    return [line for line in lines if line.startswith("a fork has not waited")]

def fork_while_held(extra=lambda: None):
    assert has_begun.wait(10)

    def use():
        assert held.acquire(timeout=3), "the parent's lock is held in the child"
        held.release()
        extra()

    script.in_child(use)
    assert not warned(), warned()
"""

# Each has some thread of the client's call hold(), soon.
HOLDERS = {
    "a receiver of events": """
        client.subscribe(lambda event: hold())
        client.start()
    """,
    "a listener": """
        topic = client.get_topic("forking").blocking()
        topic.add_listener(lambda message: hold())
        topic.publish("go")
    """,
    "a lifecycle listener": """
        client.lifecycle_service.add_listener(lambda state: hold())
        threading.Thread(target=client.start).start()
    """,
    "a callback of a future": """
        futures = client.get_map("forking")
        futures.get("key").result()
        future = futures.get("key")
        future.add_done_callback(lambda done: threading.current_thread() is not main and hold())
    """,
    "a log handler": """
        hold_in_log("flask_hazelcast_failover")
        client.start()
    """,
    "a log handler of the official client": """
        hold_in_log("hazelcast")
        threading.Thread(target=client.start).start()
    """,
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_what_it_holds_is_let_go_first(blue: LocalCluster, green: LocalCluster, holder: str) -> None:
    """A fork waits until whatever code runs on a thread of the client's has let its lock go."""
    run(f"{textwrap.dedent(holder)}\nfork_while_held()", clusters_of(blue, green), before=HOLDING)


@pytest.mark.parametrize("parts", ["threads", "multiprocess"])
def test_a_metric_that_is_being_written(blue: LocalCluster, tmp_path: Path, parts: str) -> None:
    """A child counts with prometheus-client and gets its first event, though a write was under way at the fork."""
    directory = (
        f"os.environ['PROMETHEUS_MULTIPROC_DIR'] = {str(tmp_path)!r}\n" if parts == "multiprocess" else ""
    )
    run(
        """
        from prometheus_client import Counter
        from flask_hazelcast_failover.integrations.prometheus import FailoverMetrics

        mine = Counter("mine", "of the app")
        written = type(mine._value).set

        def set_slowly(value, *args, **rest):
            written(value, *args, **rest)
            if threading.current_thread() is not threading.main_thread():
                hold()

        metrics = FailoverMetrics()
        metrics.watch(client, "app")
        type(mine._value).set = set_slowly
        users = client.get_map("users").blocking()
        users.get("key")
        heard = threading.Event()

        def use():
            mine.inc()
            client.subscribe(lambda event: heard.set())
            users.get("key")
            assert heard.wait(4), "no event in the child"

        fork_while_held(use)
        """,
        clusters_of(blue),
        before=f"import os\n{directory}{HOLDING}",
    )


def test_it_waits_a_second_at_most(blue: LocalCluster) -> None:
    """A fork goes on after a second, with one warning that names the thread."""
    run(
        """
        client.subscribe(lambda event: hold(5))
        client.start()
        assert has_begun.wait(5)
        began = time.monotonic()
        script.in_child(lambda: client.get_map("users").blocking().get("key"))
        assert time.monotonic() - began < 3.5
        script.soon(warned)
        assert len(warned()) == 1 and "hazelcast-failover-announcer" in warned()[0], lines
        """,
        clusters_of(blue),
        before=HOLDING,
    )


def test_a_thread_of_the_client_that_forks(blue: LocalCluster) -> None:
    """A listener may fork: that waits for the other threads, not for its own."""
    run(
        """
        took = []

        def fork(message):
            began = time.monotonic()
            script.in_child(lambda: None)
            took.append(time.monotonic() - began)

        topic = client.get_topic("forking").blocking()
        topic.add_listener(fork)
        topic.publish("go")
        script.soon(lambda: took)
        assert took[0] < 0.9 and not warned(), (took, lines)
        """,
        clusters_of(blue),
        before=HOLDING,
    )


FORKS = """
took = []
for _ in range(40):
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        os._exit(0)
    took.append(time.monotonic() - began)
    os.waitpid(pid, 0)
    time.sleep(0.02)
assert not warned(), warned()
assert sum(took) < 20, took
"""

SITUATIONS = {
    "at rest": "client.start()",
    "under load": """
        client.start()
        users = client.get_map("users").blocking()
        stop, errors = threading.Event(), []
        for number in range(4):
            script.repeatedly(lambda: users.set("key", b"x" * 10_000), stop, errors)
    """,
    "never used": "",
    "with a silent cluster": "client.get_map('users').blocking().get('key')",
    "switching to and fro": """
        client.start()
        script.soon(lambda: client.status().clusters[1].state == "standby")
        stop, errors = threading.Event(), []
        places = __import__("itertools").cycle(["green", "blue"])
        script.repeatedly(lambda: client.switch_to(next(places)), stop, errors)
    """,
}


@pytest.mark.parametrize(
    "before", ["", "from gevent import monkey; monkey.patch_all()\n"], ids=["threads", "gevent"]
)
@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_no_fork_waits_in_vain(blue: LocalCluster, green: LocalCluster, situation: str, before: str) -> None:
    """Threads that wait for something rest, so that no fork waits for them, whatever the clusters do."""
    with Relay(blue.addresses[0]) as silent:
        silent.freeze()
        clusters = {**clusters_of(blue, green), "silent": [silent.address]}
        run(f"{textwrap.dedent(situation)}\n{FORKS}", clusters, before=before + HOLDING)
