"""What the controller decides when asked, and while a link is prepared or drained."""

import pytest

from flask_hazelcast_failover.client._controller.messages import Begin
from flask_hazelcast_failover.client.options import Failback, Standby
from flask_hazelcast_failover.client.status import Condition, State
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.harness import connected, harness_of, results_of, switches
from tests.support.scripted_clusters import Mode


def test_request_for_the_active_cluster() -> None:
    """It is completed at once, without a new epoch."""
    harness = connected("blue", "green")
    assert results_of(harness.request("blue")) == [None]
    assert harness.controller.active.epoch == 1


def test_request_for_an_unreachable_cluster() -> None:
    """It fails with the cluster and the reason, and changes nothing."""
    harness = connected("blue", "green", standby=Standby.COLD)
    harness.set_mode("green", Mode.REFUSING)
    asked = harness.request("green")
    harness.run(5.0)
    (error,) = results_of(asked)
    assert (
        isinstance(error, ClientOfflineException)
        and "green" in str(error)
        and "bad credentials" in str(error)
    )
    assert (
        harness.on == "blue" and harness.controller.state is State.CONNECTED and harness.effects.events == []
    )


def test_requests_for_one_unreachable_cluster() -> None:
    """They fail together, with try_count attempts for all of them."""
    harness = connected("blue", "green", standby=Standby.COLD, connect_timeout=3.0)
    harness.set_mode("green", Mode.SILENT)
    asked = [harness.request("green") for _ in range(10)]
    harness.run(10.0)
    assert all(isinstance(results_of(one)[0], ClientOfflineException) for one in asked)
    assert len(harness.effects.attempts) == 3


@pytest.mark.parametrize(("mode", "granted"), [(Mode.UP, True), (Mode.ABSENT, False)])
def test_request_while_nothing_is_reachable(mode: Mode, granted: bool) -> None:
    """It is completed if its cluster is back, else it fails."""
    harness = connected("blue", "green")
    harness.kill("blue")
    harness.kill("green")
    harness.run(5.0)
    harness.effects.set_mode(1, mode)
    asked = harness.request("green")
    harness.run(1.0)
    assert (results_of(asked) == [None]) is granted and len(results_of(asked)) == 1
    assert harness.on == ("green" if granted else None)


@pytest.mark.parametrize("standby", Standby)
def test_request_outlives_a_loss(standby: Standby) -> None:
    """A loss goes first; then the request is completed."""
    harness = connected("blue", "green", "red", standby=standby)
    harness.kill("red")
    asked = harness.request("red")
    harness.kill("blue")
    harness.clusters[2].mode = Mode.UP
    harness.run(5.0)
    assert results_of(asked) == [None] and harness.on == "red"


def test_requests_end_with_the_client() -> None:
    """Each request ends once when the client is shut down."""
    harness = connected("blue", "green")
    asked = [harness.request("green"), harness.request("blue"), harness.request("green")]
    harness.controller.close()
    assert [len(results_of(one)) for one in asked] == [1, 1, 1]


def test_drained_link_stands_by() -> None:
    """A link that was left is used again later."""
    harness = connected("blue", "green")
    left = harness.effects.active
    harness.request("green")
    harness.run(1.0)
    assert left in harness.effects.live
    harness.request("blue")
    harness.run(1.0)
    assert harness.effects.active is left and harness.controller.active.epoch == 3


def test_undrained_link_is_closed() -> None:
    """A link whose operations do not end is closed after drain_timeout, and opened anew."""
    harness = connected("blue", "green", drain_timeout=5.0)
    harness.clusters[0].busy = 1
    left = harness.effects.active
    harness.request("green")
    harness.run(4.9)
    assert left in harness.effects.live
    harness.run(2.0)
    assert left not in harness.effects.live
    assert harness.controller.status().clusters[0].state is Condition.STANDBY


def test_link_left_twice_drains_twice() -> None:
    """It has its full drain_timeout both times."""
    harness = connected("blue", "green", drain_timeout=5.0)
    harness.clusters[0].busy = 1
    left = harness.effects.active
    for label in ("green", "blue"):
        harness.request(label)
        harness.run(2.0)
    harness.request("green")
    harness.run(4.5)
    assert left in harness.effects.live
    harness.run(1.0)
    assert left not in harness.effects.live


def test_nothing_is_due_while_all_is_well() -> None:
    """The controller sleeps until a message comes."""
    harness = connected("blue", "green", failback=Failback.AUTO)
    assert harness.controller.next_due() is None
    harness.effects.posted.append(Begin())
    harness.deliver()
    assert harness.effects.attempts == []


def test_link_prepared_again_while_drained() -> None:
    """A link that is about to be used again is not closed when it has drained."""
    harness = connected("blue", "green", standby=Standby.COLD)
    harness.request("green")
    harness.run(1.0, until=lambda: harness.on == "green")
    left = harness.effects.live[0]
    asked = harness.request("blue")
    (drain,) = harness.effects.pending("drain")
    harness.effects.end(drain)
    harness.deliver()
    harness.run(1.0)
    assert results_of(asked) == [None] and harness.effects.active is left


def test_second_switch_keeps_the_first_drain() -> None:
    """Operations on the first link have their drain_timeout."""
    harness = connected("blue", "green", "red", standby=Standby.COLD, drain_timeout=5.0)
    harness.clusters[0].busy = 1
    left = harness.effects.active
    harness.request("green")
    harness.run(0.5)
    harness.request("red")
    harness.run(0.5)
    assert harness.on == "red" and left in harness.effects.live
    harness.run(5.0)
    assert left not in harness.effects.live


def test_slow_preparation() -> None:
    """After 30 s the next cluster is tried as well, and the one that is ready first is taken."""
    harness = harness_of("blue", "green")
    harness.clusters[0].prepare_time = 50.0
    harness.clusters[1].prepare_time = 5.0
    harness.begin()
    harness.run(29.0)
    assert not switches(harness) and harness.effects.active is None
    harness.run(7.0)
    assert harness.on == "green"
    harness.run(60.0)
    assert harness.effects.active is harness.controller.active.link
    assert not any(link.is_closed for link in harness.effects.links), "both stay connected"


def test_slow_cluster_is_ready_first() -> None:
    """The next cluster, tried after 30 s, is called off when the first one is ready after all."""
    harness = harness_of("blue", "green")
    harness.clusters[0].prepare_time = 35.0
    harness.clusters[1].prepare_time = 10.0
    harness.begin()
    harness.run(36.0)
    assert harness.on == "blue"
    harness.run(60.0)
    assert harness.on == "blue" and harness.effects.status is not None
    assert [cluster.state for cluster in harness.effects.status.clusters] == ["active", "standby"]


def test_slow_cluster_fails() -> None:
    """A slow first cluster that dies does not disturb the next one."""
    harness = harness_of("blue", "green")
    harness.clusters[0].prepare_time = 100.0
    harness.clusters[1].prepare_time = 10.0
    harness.begin()
    harness.run(32.0)
    harness.kill("blue")
    harness.run(12.0)
    assert harness.on == "green"


def test_slow_request_ends_with_the_client() -> None:
    """A switch on purpose that was set aside, so that others are tried as well, leaves nobody waiting."""
    harness = connected("blue", "green", "white", standby=Standby.HOT)
    harness.clusters[1].prepare_time = harness.clusters[2].prepare_time = 500.0
    asked = harness.request("green")
    harness.run(1.0)
    harness.kill("blue")
    harness.run(40.0)
    assert results_of(asked) == []
    harness.controller.close()
    assert len(results_of(asked)) == 1 and results_of(asked)[0] is not None


def test_slow_cluster_says_why_it_was_passed_over() -> None:
    """The reason stays with a cluster that another one was faster than."""
    harness = harness_of("blue", "green")
    harness.clusters[0].prepare_time = 500.0
    harness.begin()
    harness.run(31.0)
    assert harness.on == "green" and harness.effects.status is not None
    assert "green was taken" in (harness.effects.status.clusters[0].last_error or "")
