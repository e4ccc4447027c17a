"""When the controller returns to a cluster of higher priority. Times are the script's."""

from flask_hazelcast_failover.client.events import ClusterLost, Reason
from flask_hazelcast_failover.client.options import Failback
from tests.support.harness import connected, results_of, switches


def test_failback_after() -> None:
    """The client returns to a primary that was healthy for failback_after."""
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    back = harness.effects.time
    harness.run(60.0, until=lambda: harness.on == "blue")
    assert 10.0 <= harness.effects.time - back <= 11.0
    assert switches(harness)[-1] == ("green", "blue", Reason.FAILBACK)
    assert harness.controller.status().history[-1].duration < 0.1


def test_relapse_doubles_the_wait() -> None:
    """Every relapse doubles the time for which the primary has to be healthy."""
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    waited = []
    for _ in range(4):
        harness.kill("blue")
        harness.run(5.0)
        assert harness.on == "green"
        harness.effects.restart(0)
        back = harness.effects.time
        harness.run(600.0, until=lambda: harness.on == "blue")
        waited.append(round((harness.effects.time - back) / 10.0))
    assert waited == [1, 2, 4, 8]


def test_failed_check_restarts_the_wait() -> None:
    """A check that fails while the time runs begins it anew."""
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    harness.run(8.0)
    harness.clusters[0].failing = 1
    harness.run(1.0)
    harness.clusters[0].failing = 0
    harness.run(8.0)
    assert harness.on == "green"
    harness.run(4.0)
    assert harness.on == "blue"


def test_failed_check_cancels_a_failback() -> None:
    """A check that fails while the primary is prepared begins the time anew, and loses nothing."""
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    harness.run(60.0, until=lambda: bool(harness.effects.pending("prepare", 0)))
    harness.clusters[0].failing = 1
    harness.effects.check_health()
    harness.clusters[0].failing = 0
    harness.run(8.0)
    assert harness.on == "green"
    assert not harness.events_of(ClusterLost)[1:], "it is only not fit"
    harness.run(4.0)
    assert harness.on == "blue"


def test_unready_primary_is_asked_again() -> None:
    """No return without the yes of the ready check."""
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0, ready_check=bool)
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    harness.clusters[0].ready = False
    harness.run(60.0)
    assert harness.on == "green"
    harness.clusters[0].ready = True
    harness.run(2.0)
    assert harness.on == "blue"


def test_late_ready_answer_is_ignored() -> None:
    """A yes for a cluster that has a lower priority by then switches nothing."""
    harness = connected("blue", "green", "red", failback=Failback.AUTO, failback_after=10.0, ready_check=bool)
    harness.kill("blue")
    harness.run(3.0)
    harness.kill("green")
    harness.run(3.0)
    assert harness.on == "red"
    harness.effects.restart(1)
    harness.run(20.0, until=lambda: bool(harness.effects.pending("ready", 1)))
    (late,) = harness.effects.pending("ready", 1)
    late.due += 100.0
    harness.effects.restart(0)
    asked = harness.request("blue", holds=False)
    harness.run(1.0)
    assert results_of(asked) == [None] and harness.on == "blue"
    harness.effects.end(late)
    harness.run(1.0)
    assert harness.on == "blue"


def test_lost_primary_is_asked_again() -> None:
    """A primary that is lost while its ready check runs is asked again when it is back."""
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0, ready_check=bool)
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    harness.run(20.0, until=lambda: bool(harness.effects.pending("ready")))
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    harness.run(30.0)
    assert harness.on == "blue"


def test_request_holds_until_reset() -> None:
    """After a requested switch there is no failback until a reset."""
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    assert results_of(harness.request("green")) == []
    harness.run(300.0)
    assert harness.on == "green"
    asked = harness.request("blue", holds=False)
    harness.run(1.0)
    assert harness.on == "blue" and results_of(asked) == [None]
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    harness.run(15.0)
    assert harness.on == "blue"
