"""What the controller decides when clusters die: one story at a time, in a scripted world. Times are the script's."""

from itertools import pairwise

import pytest

from flask_hazelcast_failover.client._controller.messages import AttemptEnded
from flask_hazelcast_failover.client.events import (
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Reason,
)
from flask_hazelcast_failover.client.options import Standby
from flask_hazelcast_failover.client.status import Condition, State
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.harness import attempts_of, connected, harness_of, results_of, switches
from tests.support.scripted_clusters import Mode


def test_first_connection_is_no_switch() -> None:
    """Epoch 1, the events that clusters are connected, and no history."""
    harness = harness_of("blue", "green")
    harness.begin()
    harness.run(0.2)
    assert harness.on == "blue" and harness.controller.active.epoch == 1
    assert harness.effects.events == [
        ClusterConnected("blue", active=True),
        ClusterConnected("green", active=False),
    ]
    assert harness.controller.status().history == ()


def test_start_on_a_lower_cluster() -> None:
    """A start lands on the standby once the primary has used up its attempts, which is no switch."""
    harness = harness_of("blue", "green")
    harness.clusters[0].mode = Mode.ABSENT
    harness.begin()
    harness.run(0.5, until=lambda: harness.on is not None)
    assert harness.on == "green" and attempts_of(harness).count("blue") == 3
    assert switches(harness) == []


def test_start_with_a_silent_primary() -> None:
    """A start waits for a silent primary for connect_timeout and no longer."""
    harness = harness_of("blue", "green", connect_timeout=3.0)
    harness.clusters[0].mode = Mode.SILENT
    harness.begin()
    harness.run(2.9)
    assert harness.on is None and harness.controller.state is State.SWITCHING
    harness.run(0.2)
    assert harness.on == "green"


def test_start_where_the_fleet_is() -> None:
    """The first connection goes to the cluster that the fleet prefers."""
    harness = harness_of("blue", "green")
    harness.begin()
    link, _, _ = harness.effects.connect(0, harness.effects.time)
    harness.effects.tasks = [task for task in harness.effects.tasks if task.index != 0]
    harness.effects.posted.append(AttemptEnded(0, 1, link, preferred=1))
    harness.run(0.2)
    assert harness.on == "green" and harness.controller.active.epoch == 1


def test_killed_primary() -> None:
    """It is tried try_count times, then the standby is used: one switch, with its duration."""
    harness = connected("blue", "green")
    harness.kill("blue")
    assert harness.controller.state is State.SWITCHING
    harness.run(0.5)
    assert harness.on == "green"
    assert attempts_of(harness)[:3] == ["blue", "blue", "blue"]
    lost, switched = harness.effects.events
    assert lost == ClusterLost("blue", active=True, reason=Reason.CONNECTION_LOST)
    assert isinstance(switched, ClusterSwitched) and switched.epoch == 2 and 0 < switched.duration < 0.5
    assert [switch.current for switch in harness.controller.status().history] == ["green"]


def test_blip_is_no_switch() -> None:
    """A primary that is back at once is used again."""
    harness = connected("blue", "green")
    harness.effects.cut(0)
    harness.run(0.5)
    assert harness.on == "blue" and harness.controller.active.epoch == 2
    assert switches(harness) == [] and len(harness.events_of(ClusterRecovered)) == 1


def test_failed_checks_were_the_tries() -> None:
    """A cluster lost by its health checks is not tried again before the standby is used."""
    harness = connected("blue", "green", health_check_failures=5)
    harness.set_mode("blue", Mode.SILENT)
    harness.run(10.0, until=lambda: harness.on == "green")
    assert "blue" not in attempts_of(harness)
    assert switches(harness) == [("blue", "green", Reason.HEALTH_CHECK)]
    assert harness.effects.time < 106.5


def test_one_failing_member_impairs() -> None:
    """One member of three that fails its checks makes a cluster impaired, until it answers."""
    harness = connected("blue", "green")
    harness.clusters[0].failing = 1
    harness.run(20.0)
    assert harness.on == "blue" and harness.controller.status().clusters[0].impaired
    harness.clusters[0].failing = 0
    harness.run(2.0)
    assert not harness.controller.status().clusters[0].impaired


def test_half_of_the_members_failing_is_a_loss() -> None:
    """Two members of three that fail their checks are a lost cluster."""
    harness = connected("blue", "green")
    harness.clusters[0].failing = 2
    harness.run(10.0)
    assert harness.on == "green"


def test_failing_together_needs_twice_the_failures() -> None:
    """When two clusters fail in the same rounds, this process is the first suspect."""
    harness = connected("blue", "green", health_check_failures=5)
    harness.set_mode("blue", Mode.SILENT)
    harness.set_mode("green", Mode.SILENT)
    harness.run(8.5)
    assert harness.on == "blue" and harness.effects.events == []
    harness.run(3.0)
    assert harness.events_of(ClusterLost)
    assert harness.on is None


def test_failures_of_a_former_cluster_do_not_count() -> None:
    """Failed checks of a cluster that was left do not make the next one a suspect of this process."""
    harness = connected("blue", "green", standby=Standby.COLD, health_check_failures=5)
    harness.set_mode("blue", Mode.SILENT)
    harness.run(1.5)
    harness.request("green")
    harness.run(1.0)
    assert harness.on == "green"
    harness.set_mode("green", Mode.SILENT)
    harness.run(5.6)
    assert harness.on is None, "five failures in a row are enough when no other cluster fails"


def test_target_lost_while_prepared() -> None:
    """A requested switch fails, and nothing has changed."""
    harness = connected("blue", "green")
    asked = harness.request("green")
    harness.kill("green")
    harness.run(1.0)
    assert harness.on == "blue" and switches(harness) == [] and harness.controller.active.epoch == 1
    assert isinstance(results_of(asked)[0], ClientOfflineException)


def test_standby_lost_while_prepared() -> None:
    """A failover goes on to the next cluster."""
    harness = connected("blue", "green", "red", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.effects.preparing is not None)
    harness.kill("green")
    harness.run(1.0)
    assert harness.on == "red"
    assert switches(harness) == [("blue", "red", Reason.CONNECTION_LOST)]


def test_listeners_cannot_be_registered() -> None:
    """A failover goes on to the next cluster."""
    harness = connected("blue", "green", "red")
    harness.clusters[1].registers = False
    harness.kill("blue")
    harness.run(2.0)
    assert harness.on == "red"


def test_lost_cluster_returns_during_a_switch() -> None:
    """The switch goes on, and the cluster stands by as restarted."""
    harness = connected("blue", "green", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.effects.preparing is not None)
    harness.effects.restart(0)
    harness.run(1.0)
    assert harness.on == "green"
    blue = harness.controller.status().clusters[0]
    assert blue.state is Condition.STANDBY and blue.restarted


def test_requested_cluster_is_shown_as_restarted() -> None:
    """A restarted cluster that a request has connected is shown as restarted."""
    harness = connected("blue", "green", standby=Standby.COLD, try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.on == "green")
    harness.effects.restart(0)
    harness.request("blue")
    harness.run(1.0)
    assert harness.on == "blue" and harness.controller.status().clusters[0].restarted


def test_request_acknowledges_a_restart() -> None:
    """A switch to a cluster that was shown as restarted ends the mark."""
    harness = connected("blue", "green", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.on == "green")
    harness.effects.restart(0)
    harness.run(2.0)
    harness.request("blue")
    harness.run(1.0)
    assert harness.on == "blue" and not harness.controller.status().clusters[0].restarted


def test_cold_standby_goes_in_order() -> None:
    """One cluster after the other is tried, each with all its attempts, and one link is open in the end."""
    harness = connected("blue", "green", "red", "black", standby=Standby.COLD, try_count=2)
    harness.set_mode("green", Mode.ABSENT)
    harness.kill("blue")
    harness.run(2.0)
    assert harness.on == "red"
    assert attempts_of(harness) == ["blue", "blue", "green", "green", "red"]
    assert len(harness.effects.live) == 1


def test_two_losses_are_two_switches() -> None:
    """The second loss comes right after the first switch."""
    harness = connected("blue", "green", "red", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.on == "green")
    harness.kill("green")
    harness.run(1.0)
    assert harness.on == "red"
    assert [(old, new) for old, new, _ in switches(harness)] == [("blue", "green"), ("green", "red")]


def test_two_clusters_lost_at_once() -> None:
    """One switch, to the third."""
    harness = connected("blue", "green", "red")
    harness.effects.set_mode(0, Mode.ABSENT)
    harness.effects.set_mode(1, Mode.ABSENT)
    harness.run(2.0)
    assert harness.on == "red"
    assert switches(harness) == [("blue", "red", Reason.CONNECTION_LOST)]


def test_search_respects_try_count() -> None:
    """No cluster gets more attempts than try_count, absent or silent."""
    harness = harness_of("blue", "green", try_count=2, connect_timeout=3.0)
    harness.clusters[0].mode, harness.clusters[1].mode = Mode.ABSENT, Mode.SILENT
    harness.begin()
    harness.run(20.0, until=lambda: harness.controller.state is State.OFFLINE)
    assert attempts_of(harness).count("blue") == 2 and attempts_of(harness).count("green") == 2


def test_search_of_thousands_of_attempts() -> None:
    """It comes to its end, though no float holds the doublings."""
    harness = harness_of("blue", try_count=1500, retry_delay=0.0)
    harness.clusters[0].mode = Mode.ABSENT
    harness.begin()
    harness.run(600.0, until=lambda: harness.controller.state is State.OFFLINE)
    assert harness.controller.state is State.OFFLINE and len(attempts_of(harness)) == 1500


def test_nothing_reachable() -> None:
    """It is announced once, and ends by itself on the best cluster."""
    harness = connected("blue", "green")
    harness.kill("blue")
    harness.kill("green")
    harness.run(60.0)
    assert harness.controller.state is State.OFFLINE
    (exhausted,) = harness.events_of(ClustersExhausted)
    assert exhausted == ClustersExhausted({"blue": "refused", "green": "refused"})
    harness.effects.set_mode(0, Mode.UP)
    harness.effects.set_mode(1, Mode.UP)
    before = harness.effects.time
    harness.run(2.0, until=lambda: harness.on is not None)
    assert harness.on == "blue" and harness.effects.time - before < 1.1
    assert ClusterRecovered in [type(event) for event in harness.effects.events]


def test_absent_cluster_is_tried_twice_a_second() -> None:
    """While nothing is reachable an absent cluster is tried often, and not in a loop."""
    harness = harness_of("blue")
    harness.clusters[0].mode = Mode.ABSENT
    harness.begin()
    harness.run(1.0)
    harness.effects.attempts.clear()
    harness.run(60.0)
    assert 120 <= len(harness.effects.attempts) <= 245


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_retry_delay_doubles_with_full_jitter(luck: float) -> None:
    """Up to a second."""
    harness = harness_of("blue", try_count=7, retry_delay=0.1)
    harness.clusters[0].mode = Mode.ABSENT
    harness.effects.luck = luck
    harness.begin()
    harness.run(10.0, until=lambda: harness.controller.state is State.OFFLINE)
    times = [at for at, _ in harness.effects.attempts]
    attempt = 0.01  # what one takes
    pauses = [round(later - at - attempt, 3) for at, later in pairwise(times)]
    assert pauses == [pytest.approx(luck * longest, abs=0.002) for longest in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0)]


@pytest.mark.parametrize(
    ("mode", "longest"), [(Mode.ABSENT, [0.5] * 6), (Mode.REFUSING, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0])]
)
@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_offline_pauses_have_half_jitter(mode: Mode, longest: list[float], luck: float) -> None:
    """While nothing is reachable, half of each pause is random; it doubles for a cluster that refuses."""
    harness = harness_of("blue", try_count=1)
    harness.clusters[0].mode = mode
    harness.effects.luck = luck
    harness.begin()
    harness.run(200.0)
    times = [at for at, _ in harness.effects.attempts]
    pauses = [later - at for at, later in pairwise(times)]
    assert pauses[:6] == [pytest.approx(each * (0.5 + luck / 2), abs=0.1) for each in longest]


def test_middle_cluster_is_left_for_the_best() -> None:
    """After a loss the search begins at the highest priority, not at the next one."""
    for standby in Standby:
        harness = connected("blue", "green", "red", standby=standby)
        harness.request("green")
        harness.run(1.0)
        assert harness.on == "green"
        harness.kill("green")
        harness.run(2.0)
        assert harness.on == "blue"


def test_offline_error_has_the_last_reason() -> None:
    """Calls fail with the reason of the last attempt."""
    harness = connected("blue")
    harness.kill("blue")
    harness.run(5.0)
    with pytest.raises(ClientOfflineException, match="refused"):
        harness.effects.route.active(deadline=0.0)
    harness.set_mode("blue", Mode.REFUSING)
    harness.run(5.0)
    with pytest.raises(ClientOfflineException, match="bad credentials"):
        harness.effects.route.active(deadline=0.0)


def test_refusing_cluster_is_tried_with_backoff() -> None:
    """Up to 30 s."""
    harness = harness_of("blue")
    harness.clusters[0].mode = Mode.REFUSING
    harness.effects.luck = 1.0
    harness.begin()
    harness.run(1.0)
    harness.effects.attempts.clear()
    harness.run(300.0)
    times = [at for at, _ in harness.effects.attempts]
    pauses = [round(later - at) for at, later in pairwise(times)]
    assert pauses[:5] == [2, 4, 8, 16, 30] and set(pauses[5:]) == {30}


def test_link_down_before_it_is_reported() -> None:
    """A link that is down when its attempt is reported is closed, and the attempt counts as failed."""
    harness = harness_of("blue")
    harness.begin()
    harness.effects.end(harness.effects.pending("attempt")[0])
    harness.effects.links[0].is_open = False
    harness.deliver()
    assert harness.effects.preparing is None and harness.effects.links[0].is_closed
    harness.run(1.0)
    assert harness.on == "blue"


def test_downtime_counts_from_the_first_loss() -> None:
    """Also when the cluster is lost again before it could be used."""
    harness = connected("blue")
    harness.kill("blue")
    harness.run(20.0)
    harness.effects.restart(0)
    harness.run(2.0, until=lambda: harness.effects.preparing is not None)
    harness.effects.cut(0)
    harness.run(2.0)
    (recovered,) = [event for event in harness.effects.events if isinstance(event, ClusterRecovered)]
    assert recovered.downtime > 20.0


def test_outage_is_announced_once() -> None:
    """However often a cluster comes and goes in it."""
    harness = connected("blue")
    for outages in (1, 2):
        harness.kill("blue")
        harness.run(5.0)
        for _ in range(3):
            harness.effects.restart(0)
            harness.run(2.0, until=lambda: harness.effects.preparing is not None)
            harness.kill("blue")
            harness.run(5.0)
        assert len(harness.events_of(ClustersExhausted)) == outages
        harness.effects.restart(0)
        harness.run(2.0)
        assert harness.on == "blue"
