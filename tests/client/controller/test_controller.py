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
from tests.support.harness import dials, stage_of, started, switches
from tests.support.scripted_world import Mode


def test_the_first_connection_is_no_switch() -> None:
    stage = stage_of("blue", "green")
    stage.begin()
    stage.run(0.2)
    assert stage.on == "blue" and stage.controller.epoch == 1
    assert stage.world.events == [
        ClusterConnected("blue", active=True),
        ClusterConnected("green", active=False),
    ]
    assert stage.controller.status().history == ()


def test_a_start_lands_on_a_lower_cluster_when_the_higher_ones_have_used_up_their_attempts() -> None:
    stage = stage_of("blue", "green")
    stage.clusters[0].mode = Mode.ABSENT
    stage.begin()
    stage.run(0.5, until=lambda: stage.on is not None)
    assert stage.on == "green" and dials(stage).count("blue") == 3
    assert switches(stage) == []


def test_a_start_waits_for_a_silent_primary_no_longer_than_one_attempt_may_take() -> None:
    stage = stage_of("blue", "green", connect_timeout=3.0)
    stage.clusters[0].mode = Mode.SILENT
    stage.begin()
    stage.run(2.9)
    assert stage.on is None and stage.controller.state is State.SWITCHING
    stage.run(0.2)
    assert stage.on == "green"


def test_the_first_connection_goes_where_the_other_processes_are() -> None:
    stage = stage_of("blue", "green")
    stage.begin()
    link, _, _ = stage.world._reached(0, stage.world.time)
    stage.world.tasks = [task for task in stage.world.tasks if task.index != 0]
    stage.world.posted.append(AttemptEnded(0, 1, link, preferred=1))
    stage.run(0.2)
    assert stage.on == "green" and stage.controller.epoch == 1


def test_a_killed_primary_is_tried_three_times_and_then_left_for_the_standby() -> None:
    stage = started("blue", "green")
    stage.kill("blue")
    assert stage.controller.state is State.SWITCHING
    stage.run(0.5)
    assert stage.on == "green"
    assert dials(stage)[:3] == ["blue", "blue", "blue"]
    lost, switched = stage.world.events
    assert lost == ClusterLost("blue", active=True, reason=Reason.CONNECTION_LOST)
    assert isinstance(switched, ClusterSwitched) and switched.epoch == 2 and 0 < switched.duration < 0.5
    assert [switch.current for switch in stage.controller.status().history] == ["green"]


def test_a_primary_that_is_back_at_once_is_used_again_and_that_is_no_switch() -> None:
    stage = started("blue", "green")
    stage.world.cut(0)
    stage.run(0.5)
    assert stage.on == "blue" and stage.controller.epoch == 2
    assert switches(stage) == [] and len(stage.told(ClusterRecovered)) == 1


def test_failed_checks_were_the_tries_at_the_lost_cluster() -> None:
    stage = started("blue", "green", health_check_failures=5)
    stage.set_mode("blue", Mode.SILENT)
    stage.run(10.0, until=lambda: stage.on == "green")
    assert "blue" not in dials(stage)
    assert switches(stage) == [("blue", "green", Reason.HEALTH_CHECK)]
    assert stage.world.time < 106.5


def test_one_member_of_three_that_fails_makes_a_cluster_impaired_and_no_more() -> None:
    stage = started("blue", "green")
    stage.clusters[0].failing = 1
    stage.run(20.0)
    assert stage.on == "blue" and stage.controller.status().clusters[0].impaired
    stage.clusters[0].failing = 0
    stage.run(2.0)
    assert not stage.controller.status().clusters[0].impaired


def test_half_of_the_members_that_fail_are_enough() -> None:
    stage = started("blue", "green")
    stage.clusters[0].failing = 2
    stage.run(10.0)
    assert stage.on == "green"


def test_clusters_that_fail_in_the_same_rounds_need_twice_as_many_failures() -> None:
    stage = started("blue", "green", health_check_failures=5)
    stage.set_mode("blue", Mode.SILENT)
    stage.set_mode("green", Mode.SILENT)
    stage.run(8.5)
    assert stage.on == "blue" and stage.world.events == []
    stage.run(3.0)
    assert stage.told(ClusterLost)
    assert stage.on is None


def test_checks_that_failed_on_a_cluster_that_was_left_say_nothing_of_the_next() -> None:
    stage = started("blue", "green", standby=Standby.COLD, health_check_failures=5)
    stage.set_mode("blue", Mode.SILENT)
    stage.run(1.5)
    stage.wish("green")
    stage.run(1.0)
    assert stage.on == "green"
    stage.set_mode("green", Mode.SILENT)
    stage.run(5.6)
    assert stage.on is None, "five failures in a row are enough when no other cluster fails"


def test_a_target_that_is_lost_in_the_middle_of_a_move_changes_nothing() -> None:
    stage = started("blue", "green")
    asked = stage.wish("green")
    stage.kill("green")
    stage.run(1.0)
    assert stage.on == "blue" and switches(stage) == [] and stage.controller.epoch == 1
    assert isinstance(asked.answers[0], ClientOfflineException)


def test_a_standby_that_is_lost_in_the_middle_of_a_failover_makes_way_for_the_next() -> None:
    stage = started("blue", "green", "red", try_count=1)
    stage.kill("blue")
    stage.run(1.0, until=lambda: stage.world.moving is not None)
    stage.kill("green")
    stage.run(1.0)
    assert stage.on == "red"
    assert switches(stage) == [("blue", "red", Reason.CONNECTION_LOST)]


def test_listeners_that_cannot_be_registered_make_way_for_the_next_cluster() -> None:
    stage = started("blue", "green", "red")
    stage.clusters[1].carries = False
    stage.kill("blue")
    stage.run(2.0)
    assert stage.on == "red"


def test_a_cluster_that_returns_in_the_middle_of_a_switch_does_not_stop_it() -> None:
    stage = started("blue", "green", try_count=1)
    stage.kill("blue")
    stage.run(1.0, until=lambda: stage.world.moving is not None)
    stage.world.restart(0)
    stage.run(1.0)
    assert stage.on == "green"
    blue = stage.controller.status().clusters[0]
    assert blue.state is Condition.STANDBY and blue.restarted


def test_a_restarted_cluster_that_is_connected_for_a_switch_on_purpose_is_shown_as_such() -> None:
    stage = started("blue", "green", standby=Standby.COLD, try_count=1)
    stage.kill("blue")
    stage.run(1.0, until=lambda: stage.on == "green")
    stage.world.restart(0)
    stage.wish("blue")
    stage.run(1.0)
    assert stage.on == "blue" and stage.controller.status().clusters[0].restarted


def test_whoever_moves_on_purpose_to_a_cluster_shown_as_restarted_has_seen_it() -> None:
    stage = started("blue", "green", try_count=1)
    stage.kill("blue")
    stage.run(1.0, until=lambda: stage.on == "green")
    stage.world.restart(0)
    stage.run(2.0)
    stage.wish("blue")
    stage.run(1.0)
    assert stage.on == "blue" and not stage.controller.status().clusters[0].restarted


def test_cold_standby_asks_one_cluster_after_the_other_in_order() -> None:
    stage = started("blue", "green", "red", "black", standby=Standby.COLD, try_count=2)
    stage.set_mode("green", Mode.ABSENT)
    stage.kill("blue")
    stage.run(2.0)
    assert stage.on == "red"
    assert dials(stage) == ["blue", "blue", "green", "green", "red"]
    assert len(stage.world.live) == 1


def test_two_losses_in_quick_succession_are_two_switches_one_after_the_other() -> None:
    stage = started("blue", "green", "red", try_count=1)
    stage.kill("blue")
    stage.run(1.0, until=lambda: stage.on == "green")
    stage.kill("green")
    stage.run(1.0)
    assert stage.on == "red"
    assert [(old, new) for old, new, _ in switches(stage)] == [("blue", "green"), ("green", "red")]


def test_two_clusters_lost_at_once_are_one_switch() -> None:
    stage = started("blue", "green", "red")
    stage.world.set_mode(0, Mode.ABSENT)
    stage.world.set_mode(1, Mode.ABSENT)
    stage.run(2.0)
    assert stage.on == "red"
    assert switches(stage) == [("blue", "red", Reason.CONNECTION_LOST)]


def test_a_search_makes_no_more_attempts_at_a_cluster_than_it_may() -> None:
    stage = stage_of("blue", "green", try_count=2, connect_timeout=3.0)
    stage.clusters[0].mode, stage.clusters[1].mode = Mode.ABSENT, Mode.SILENT
    stage.begin()
    stage.run(20.0, until=lambda: stage.controller.state is State.OFFLINE)
    assert dials(stage).count("blue") == 2 and dials(stage).count("green") == 2


def test_a_search_of_thousands_of_attempts_comes_to_its_end() -> None:
    stage = stage_of("blue", try_count=1500, retry_delay=0.0)
    stage.clusters[0].mode = Mode.ABSENT
    stage.begin()
    stage.run(600.0, until=lambda: stage.controller.state is State.OFFLINE)
    assert stage.controller.state is State.OFFLINE and len(dials(stage)) == 1500


def test_nothing_reachable_is_told_once_and_ends_by_itself_on_the_best_cluster() -> None:
    stage = started("blue", "green")
    stage.kill("blue")
    stage.kill("green")
    stage.run(60.0)
    assert stage.controller.state is State.OFFLINE
    (exhausted,) = stage.told(ClustersExhausted)
    assert exhausted == ClustersExhausted({"blue": "refused", "green": "refused"})
    stage.world.set_mode(0, Mode.UP)
    stage.world.set_mode(1, Mode.UP)
    before = stage.world.time
    stage.run(2.0, until=lambda: stage.on is not None)
    assert stage.on == "blue" and stage.world.time - before < 1.1
    assert ClusterRecovered in [type(event) for event in stage.world.events]


def test_an_absent_cluster_is_asked_twice_a_second_or_more_often_but_not_in_a_loop() -> None:
    stage = stage_of("blue")
    stage.clusters[0].mode = Mode.ABSENT
    stage.begin()
    stage.run(1.0)
    stage.world.dials.clear()
    stage.run(60.0)
    assert 120 <= len(stage.world.dials) <= 245


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_the_pauses_between_attempts_double_up_to_a_second_and_are_drawn_by_chance(luck: float) -> None:
    stage = stage_of("blue", try_count=7, retry_delay=0.1)
    stage.clusters[0].mode = Mode.ABSENT
    stage.world.luck = luck
    stage.begin()
    stage.run(10.0, until=lambda: stage.controller.state is State.OFFLINE)
    times = [at for at, _ in stage.world.dials]
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
    stage = stage_of("blue", try_count=1)
    stage.clusters[0].mode = mode
    stage.world.luck = luck
    stage.begin()
    stage.run(200.0)
    times = [at for at, _ in stage.world.dials]
    pauses = [later - at for at, later in pairwise(times)]
    assert pauses[:6] == [pytest.approx(each * (0.5 + luck / 2), abs=0.1) for each in longest]


def test_a_cluster_in_the_middle_that_is_lost_is_left_for_the_best_one() -> None:
    for standby in Standby:
        stage = started("blue", "green", "red", standby=standby)
        stage.wish("green")
        stage.run(1.0)
        assert stage.on == "green"
        stage.kill("green")
        stage.run(2.0)
        assert stage.on == "blue"


def test_calls_fail_with_the_reason_of_the_last_attempt() -> None:
    stage = started("blue")
    stage.kill("blue")
    stage.run(5.0)
    with pytest.raises(ClientOfflineException, match="refused"):
        stage.world.gate.active(deadline=0.0)
    stage.set_mode("blue", Mode.REFUSING)
    stage.run(5.0)
    with pytest.raises(ClientOfflineException, match="bad credentials"):
        stage.world.gate.active(deadline=0.0)


def test_a_cluster_that_refuses_is_asked_less_and_less_often() -> None:
    stage = stage_of("blue")
    stage.clusters[0].mode = Mode.REFUSING
    stage.world.luck = 1.0
    stage.begin()
    stage.run(1.0)
    stage.world.dials.clear()
    stage.run(300.0)
    times = [at for at, _ in stage.world.dials]
    pauses = [round(later - at) for at, later in pairwise(times)]
    assert pauses[:5] == [2, 4, 8, 16, 30] and set(pauses[5:]) == {30}


def test_a_link_that_is_down_before_the_keeper_hears_of_it_is_a_failed_attempt() -> None:
    stage = stage_of("blue")
    stage.begin()
    stage.world.end(stage.world.pending("attempt")[0])
    stage.world.links[0].is_open = False
    stage.deliver()
    assert stage.world.moving is None and stage.world.links[0].is_discarded
    stage.run(1.0)
    assert stage.on == "blue"


def test_a_downtime_is_counted_from_the_first_loss() -> None:
    stage = started("blue")
    stage.kill("blue")
    stage.run(20.0)
    stage.world.restart(0)
    stage.run(2.0, until=lambda: stage.world.moving is not None)
    stage.world.cut(0)
    stage.run(2.0)
    (recovered,) = [event for event in stage.world.events if isinstance(event, ClusterRecovered)]
    assert recovered.downtime > 20.0


def test_every_outage_is_told_once_however_often_a_cluster_comes_and_goes_in_it() -> None:
    stage = started("blue")
    for outages in (1, 2):
        stage.kill("blue")
        stage.run(5.0)
        for _ in range(3):
            stage.world.restart(0)
            stage.run(2.0, until=lambda: stage.world.moving is not None)
            stage.kill("blue")
            stage.run(5.0)
        assert len(stage.told(ClustersExhausted)) == outages
        stage.world.restart(0)
        stage.run(2.0)
        assert stage.on == "blue"
