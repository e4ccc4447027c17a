"""A process that its platform stops for a while, as serverless ones do, goes on where it was."""

from __future__ import annotations

import json
import signal

import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.apps import url_of
from tests.support.fleet import Start
from tests.support.scripts import running
from tests.support.waiting import eventually

# Members look every 10 s for clients that have been silent for this long.
IMPATIENT = {"hazelcast.client.max.no.heartbeat.seconds": "3"}
HANG_UP = "Client heartbeat is timed out"

PROGRAM = """
from tests.support.apps import make_app
from flask_hazelcast_failover import signals
switches = []
app = make_app(*{urls}, FLEET="stopped", HEALTH_CHECK_INTERVAL=0.2)
signals.cluster_switched.connect(lambda _, event: switches.append(event), sender=app, weak=False)
with app.app_context():
    client = app.extensions["hazelcast_failover"].client
app.test_client().get("/hazelcast/health/live")  # serves
users = client.get_map("stopped").blocking()
users.set("key", 1)
stop, errors = threading.Event(), []
busy = script.repeatedly(lambda: users.get("key"), stop, errors)
script.soon(lambda: all(cluster.state in ("active", "standby") for cluster in client.status().clusters))
print("connected", client.status().worker)
sys.stdin.readline()
began = time.monotonic()
assert users.get("key") == 1
took = time.monotonic() - began
script.soon(lambda: all(cluster.state in ("active", "standby") for cluster in client.status().clusters))
stop.set()
busy.join(5)
status = client.status()
assert not errors, errors
# The epoch may have risen: the client has connected to the same cluster again, since all members had hung up.
assert status.current_cluster == "blue" and not status.history and not switches, status
print("took", took)
sys.stdin.readline()
"""


@pytest.mark.timing
@pytest.mark.parametrize("labels", [("blue",), ("blue", "green")], ids=["alone", "hot standby"])
def test_a_stopped_process_goes_on_where_it_was(
    start_cluster: StartCluster, start: Start, labels: tuple[str, ...]
) -> None:
    """All members have hung up meanwhile: its first call is fast and no switch, and it is in its fleet again."""
    clusters = [start_cluster(label, properties=IMPATIENT) for label in labels]
    onlooker = start(*clusters, FLEET="stopped")
    program = PROGRAM.format(urls=json.dumps([url_of(cluster) for cluster in clusters]))
    with running(program, {"unused": ["127.0.0.1:1"]}) as script:
        eventually(lambda: len(onlooker.seen) == 2, within=20)
        script.process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: all(has_hung_up(cluster) for cluster in clusters), within=40)
            eventually(lambda: len(onlooker.seen) == 1, within=20)
        finally:
            script.process.send_signal(signal.SIGCONT)
        script.say()
        line = script.find("took ")
        assert float(line.split()[1]) < 1.0
        eventually(lambda: len(onlooker.seen) == 2)
        script.say()
        script.ends(10)


def has_hung_up(cluster: LocalCluster) -> bool:
    """Whether the member has closed a client's connection since that was silent."""
    return any(HANG_UP in member.log() for member in cluster.members)
