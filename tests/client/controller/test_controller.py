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


def test_the_first_connection_is_no_switch() -> None:
    harness = harness_of("blue", "green")
    harness.begin()
    harness.run(0.2)
    assert harness.on == "blue" and harness.controller.active.epoch == 1
    assert harness.effects.events == [
        ClusterConnected("blue", active=True),
        ClusterConnected("green", active=False),
    ]
    assert harness.controller.status().history == ()


def test_a_start_lands_on_a_lower_cluster_when_the_higher_ones_have_used_up_their_attempts() -> None:
    harness = harness_of("blue", "green")
    harness.clusters[0].mode = Mode.ABSENT
    harness.begin()
    harness.run(0.5, until=lambda: harness.on is not None)
    assert harness.on == "green" and attempts_of(harness).count("blue") == 3
    assert switches(harness) == []


def test_a_start_waits_for_a_silent_primary_no_longer_than_one_attempt_may_take() -> None:
    harness = harness_of("blue", "green", connect_timeout=3.0)
    harness.clusters[0].mode = Mode.SILENT
    harness.begin()
    harness.run(2.9)
    assert harness.on is None and harness.controller.state is State.SWITCHING
    harness.run(0.2)
    assert harness.on == "green"


def test_the_first_connection_goes_where_the_other_processes_are() -> None:
    harness = harness_of("blue", "green")
    harness.begin()
    link, _, _ = harness.effects.connect(0, harness.effects.time)
    harness.effects.tasks = [task for task in harness.effects.tasks if task.index != 0]
    harness.effects.posted.append(AttemptEnded(0, 1, link, preferred=1))
    harness.run(0.2)
    assert harness.on == "green" and harness.controller.active.epoch == 1


def test_a_killed_primary_is_tried_three_times_and_then_left_for_the_standby() -> None:
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


def test_a_primary_that_is_back_at_once_is_used_again_and_that_is_no_switch() -> None:
    harness = connected("blue", "green")
    harness.effects.cut(0)
    harness.run(0.5)
    assert harness.on == "blue" and harness.controller.active.epoch == 2
    assert switches(harness) == [] and len(harness.events_of(ClusterRecovered)) == 1


def test_failed_checks_were_the_tries_at_the_lost_cluster() -> None:
    harness = connected("blue", "green", health_check_failures=5)
    harness.set_mode("blue", Mode.SILENT)
    harness.run(10.0, until=lambda: harness.on == "green")
    assert "blue" not in attempts_of(harness)
    assert switches(harness) == [("blue", "green", Reason.HEALTH_CHECK)]
    assert harness.effects.time < 106.5


def test_one_member_of_three_that_fails_makes_a_cluster_impaired_and_no_more() -> None:
    harness = connected("blue", "green")
    harness.clusters[0].failing = 1
    harness.run(20.0)
    assert harness.on == "blue" and harness.controller.status().clusters[0].impaired
    harness.clusters[0].failing = 0
    harness.run(2.0)
    assert not harness.controller.status().clusters[0].impaired


def test_half_of_the_members_that_fail_are_enough() -> None:
    harness = connected("blue", "green")
    harness.clusters[0].failing = 2
    harness.run(10.0)
    assert harness.on == "green"


def test_clusters_that_fail_in_the_same_rounds_need_twice_as_many_failures() -> None:
    harness = connected("blue", "green", health_check_failures=5)
    harness.set_mode("blue", Mode.SILENT)
    harness.set_mode("green", Mode.SILENT)
    harness.run(8.5)
    assert harness.on == "blue" and harness.effects.events == []
    harness.run(3.0)
    assert harness.events_of(ClusterLost)
    assert harness.on is None


def test_checks_that_failed_on_a_cluster_that_was_left_say_nothing_of_the_next() -> None:
    harness = connected("blue", "green", standby=Standby.COLD, health_check_failures=5)
    harness.set_mode("blue", Mode.SILENT)
    harness.run(1.5)
    harness.request("green")
    harness.run(1.0)
    assert harness.on == "green"
    harness.set_mode("green", Mode.SILENT)
    harness.run(5.6)
    assert harness.on is None, "five failures in a row are enough when no other cluster fails"


def test_a_target_that_is_lost_in_the_middle_of_a_move_changes_nothing() -> None:
    harness = connected("blue", "green")
    asked = harness.request("green")
    harness.kill("green")
    harness.run(1.0)
    assert harness.on == "blue" and switches(harness) == [] and harness.controller.active.epoch == 1
    assert isinstance(results_of(asked)[0], ClientOfflineException)


def test_a_standby_that_is_lost_in_the_middle_of_a_failover_makes_way_for_the_next() -> None:
    harness = connected("blue", "green", "red", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.effects.preparing is not None)
    harness.kill("green")
    harness.run(1.0)
    assert harness.on == "red"
    assert switches(harness) == [("blue", "red", Reason.CONNECTION_LOST)]


def test_listeners_that_cannot_be_registered_make_way_for_the_next_cluster() -> None:
    harness = connected("blue", "green", "red")
    harness.clusters[1].registers = False
    harness.kill("blue")
    harness.run(2.0)
    assert harness.on == "red"


def test_a_cluster_that_returns_in_the_middle_of_a_switch_does_not_stop_it() -> None:
    harness = connected("blue", "green", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.effects.preparing is not None)
    harness.effects.restart(0)
    harness.run(1.0)
    assert harness.on == "green"
    blue = harness.controller.status().clusters[0]
    assert blue.state is Condition.STANDBY and blue.restarted


def test_a_restarted_cluster_that_is_connected_for_a_switch_on_purpose_is_shown_as_such() -> None:
    harness = connected("blue", "green", standby=Standby.COLD, try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.on == "green")
    harness.effects.restart(0)
    harness.request("blue")
    harness.run(1.0)
    assert harness.on == "blue" and harness.controller.status().clusters[0].restarted


def test_whoever_moves_on_purpose_to_a_cluster_shown_as_restarted_has_seen_it() -> None:
    harness = connected("blue", "green", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.on == "green")
    harness.effects.restart(0)
    harness.run(2.0)
    harness.request("blue")
    harness.run(1.0)
    assert harness.on == "blue" and not harness.controller.status().clusters[0].restarted


def test_cold_standby_asks_one_cluster_after_the_other_in_order() -> None:
    harness = connected("blue", "green", "red", "black", standby=Standby.COLD, try_count=2)
    harness.set_mode("green", Mode.ABSENT)
    harness.kill("blue")
    harness.run(2.0)
    assert harness.on == "red"
    assert attempts_of(harness) == ["blue", "blue", "green", "green", "red"]
    assert len(harness.effects.live) == 1


def test_two_losses_in_quick_succession_are_two_switches_one_after_the_other() -> None:
    harness = connected("blue", "green", "red", try_count=1)
    harness.kill("blue")
    harness.run(1.0, until=lambda: harness.on == "green")
    harness.kill("green")
    harness.run(1.0)
    assert harness.on == "red"
    assert [(old, new) for old, new, _ in switches(harness)] == [("blue", "green"), ("green", "red")]


def test_two_clusters_lost_at_once_are_one_switch() -> None:
    harness = connected("blue", "green", "red")
    harness.effects.set_mode(0, Mode.ABSENT)
    harness.effects.set_mode(1, Mode.ABSENT)
    harness.run(2.0)
    assert harness.on == "red"
    assert switches(harness) == [("blue", "red", Reason.CONNECTION_LOST)]


def test_a_search_makes_no_more_attempts_at_a_cluster_than_it_may() -> None:
    harness = harness_of("blue", "green", try_count=2, connect_timeout=3.0)
    harness.clusters[0].mode, harness.clusters[1].mode = Mode.ABSENT, Mode.SILENT
    harness.begin()
    harness.run(20.0, until=lambda: harness.controller.state is State.OFFLINE)
    assert attempts_of(harness).count("blue") == 2 and attempts_of(harness).count("green") == 2


def test_a_search_of_thousands_of_attempts_comes_to_its_end() -> None:
    harness = harness_of("blue", try_count=1500, retry_delay=0.0)
    harness.clusters[0].mode = Mode.ABSENT
    harness.begin()
    harness.run(600.0, until=lambda: harness.controller.state is State.OFFLINE)
    assert harness.controller.state is State.OFFLINE and len(attempts_of(harness)) == 1500


def test_nothing_reachable_is_told_once_and_ends_by_itself_on_the_best_cluster() -> None:
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


def test_an_absent_cluster_is_asked_twice_a_second_or_more_often_but_not_in_a_loop() -> None:
    harness = harness_of("blue")
    harness.clusters[0].mode = Mode.ABSENT
    harness.begin()
    harness.run(1.0)
    harness.effects.attempts.clear()
    harness.run(60.0)
    assert 120 <= len(harness.effects.attempts) <= 245


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_the_pauses_between_attempts_double_up_to_a_second_and_are_drawn_by_chance(luck: float) -> None:
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
def test_half_of_each_pause_while_nothing_is_reachable_is_drawn_by_chance(
    mode: Mode, longest: list[float], luck: float
) -> None:
    harness = harness_of("blue", try_count=1)
    harness.clusters[0].mode = mode
    harness.effects.luck = luck
    harness.begin()
    harness.run(200.0)
    times = [at for at, _ in harness.effects.attempts]
    pauses = [later - at for at, later in pairwise(times)]
    assert pauses[:6] == [pytest.approx(each * (0.5 + luck / 2), abs=0.1) for each in longest]


def test_a_cluster_in_the_middle_that_is_lost_is_left_for_the_best_one() -> None:
    for standby in Standby:
        harness = connected("blue", "green", "red", standby=standby)
        harness.request("green")
        harness.run(1.0)
        assert harness.on == "green"
        harness.kill("green")
        harness.run(2.0)
        assert harness.on == "blue"


def test_calls_fail_with_the_reason_of_the_last_attempt() -> None:
    harness = connected("blue")
    harness.kill("blue")
    harness.run(5.0)
    with pytest.raises(ClientOfflineException, match="refused"):
        harness.effects.route.active(deadline=0.0)
    harness.set_mode("blue", Mode.REFUSING)
    harness.run(5.0)
    with pytest.raises(ClientOfflineException, match="bad credentials"):
        harness.effects.route.active(deadline=0.0)


def test_a_cluster_that_refuses_is_asked_less_and_less_often() -> None:
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


def test_a_link_that_is_down_before_the_keeper_hears_of_it_is_a_failed_attempt() -> None:
    harness = harness_of("blue")
    harness.begin()
    harness.effects.end(harness.effects.pending("attempt")[0])
    harness.effects.links[0].is_open = False
    harness.deliver()
    assert harness.effects.preparing is None and harness.effects.links[0].is_closed
    harness.run(1.0)
    assert harness.on == "blue"


def test_a_downtime_is_counted_from_the_first_loss() -> None:
    harness = connected("blue")
    harness.kill("blue")
    harness.run(20.0)
    harness.effects.restart(0)
    harness.run(2.0, until=lambda: harness.effects.preparing is not None)
    harness.effects.cut(0)
    harness.run(2.0)
    (recovered,) = [event for event in harness.effects.events if isinstance(event, ClusterRecovered)]
    assert recovered.downtime > 20.0


def test_every_outage_is_told_once_however_often_a_cluster_comes_and_goes_in_it() -> None:
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
