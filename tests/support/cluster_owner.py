"""A program that starts a cluster and ends in some way: `python -m tests.support.cluster_owner SCENARIO`.

It prints one line of JSON when it is ready: the ids of the processes and the directory that must not outlive it. Then
it waits to be ended, or ends.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from flask_hazelcast_failover.testing import LocalCluster


def report(cluster: LocalCluster, **more: int) -> None:
    pids = [member.pid for member in cluster.members]
    print_report({"pids": pids, "directory": psutil.Process(pids[0]).cwd(), **more})


def print_report(report: dict[str, Any]) -> None:
    print(json.dumps(report), flush=True)


def wait_for_end() -> None:
    time.sleep(120)


def waits() -> None:
    report(LocalCluster("waits").start())
    wait_for_end()


def frozen() -> None:
    cluster = LocalCluster("frozen", members=2).start()
    cluster.freeze(1)
    report(cluster)
    wait_for_end()


def forked() -> None:
    """The child has copies of all open files of its parent, and outlives it."""
    cluster = LocalCluster("forked").start()
    child = os.fork()
    if child:
        report(cluster, child=child)
    wait_for_end()


def guard_lost() -> None:
    cluster = LocalCluster("guard-lost").start()
    for child in psutil.Process().children():
        if any("_guard_process" in word for word in child.cmdline()):
            child.kill()
            child.wait()
    cluster.add_member()
    report(cluster)
    wait_for_end()


def starting() -> None:
    """Killed meanwhile by the test, which finds the processes by their directory for temporary files."""
    LocalCluster("starting", members=2).start()
    wait_for_end()


def returns() -> None:
    report(LocalCluster("returns").start())


def fails() -> None:
    report(LocalCluster("fails").start())
    raise SystemExit(3)


def terminated() -> None:
    report(LocalCluster("terminated").start())
    os.kill(os.getpid(), signal.SIGTERM)
    wait_for_end()


def child_returns() -> None:
    """A forked child runs to its end, exit handlers included."""
    cluster = LocalCluster("child-returns").start()
    child = os.fork()
    if not child:
        sys.exit(0)
    os.waitpid(child, 0)
    time.sleep(0.5)
    report(cluster, alive=sum(member.alive for member in cluster.members))


def child_kills() -> None:
    """A forked child kills a member and tries to start one."""
    cluster = LocalCluster("child-kills").start()
    pid = cluster.members[0].pid
    child = os.fork()
    if not child:
        cluster.freeze()
        cluster.thaw()
        cluster.kill()
        alive = cluster.members[0].alive
        try:
            cluster.restart()
        except Exception as error:
            Path(sys.argv[2]).write_text(f"{alive} {error}", encoding="utf-8")
        os._exit(0)
    os.waitpid(child, 0)
    print_report({"pids": [pid], "alive": sum(member.alive for member in cluster.members)})


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        *(waits, frozen, forked, guard_lost, starting),
        *(returns, fails, terminated, child_returns, child_kills),
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]]()
