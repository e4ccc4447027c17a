"""What the keeper decides, one story at a time, in a scripted world. Times are those of the script's clock."""

from itertools import pairwise
from typing import Any

import pytest

from flask_hazelcast_failover.client.events import (
    AddressesChanged,
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Reason,
)
from flask_hazelcast_failover.client.happenings import AttemptEnded, Begin
from flask_hazelcast_failover.client.options import Failback, Options, Standby
from flask_hazelcast_failover.client.route import State
from flask_hazelcast_failover.client.status import Condition
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.scripted_world import Mode
from tests.support.stage import Stage


def stage_of(*labels: str, **options: Any) -> Stage:
    return Stage(list(labels), Options(**{"try_count": 3, **options}))


def started(*labels: str, **options: Any) -> Stage:
    """A stage where every cluster is up and the client is on the first one."""
    stage = stage_of(*labels, **options)
    stage.begin()
    stage.run(0.2)
    assert stage.on == labels[0]
    stage.world.events.clear()
    stage.world.dials.clear()
    return stage


def dials(stage: Stage) -> list[str]:
    return [stage.clusters[index].label for _, index in stage.world.dials]


def switches(stage: Stage) -> list[tuple[str, str, Reason]]:
    told = [event for event in stage.world.events if isinstance(event, ClusterSwitched)]
    return [(event.previous, event.current, event.reason) for event in told]


def test_the_first_connection_is_no_switch() -> None:
    stage = stage_of("blue", "green")
    stage.begin()
    stage.run(0.2)
    assert stage.on == "blue" and stage.keeper.epoch == 1
    assert stage.world.events == [
        ClusterConnected("blue", active=True),
        ClusterConnected("green", active=False),
    ]
    assert stage.keeper.status().history == ()


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
    assert stage.on is None and stage.keeper.state is State.SWITCHING
    stage.run(0.2)
    assert stage.on == "green"


def test_the_first_connection_goes_where_the_other_processes_are() -> None:
    stage = stage_of("blue", "green")
    stage.begin()
    link, _, _ = stage.world._reached(0, stage.world.time)
    stage.world.tasks = [task for task in stage.world.tasks if task.index != 0]
    stage.world.posted.append(AttemptEnded(0, 1, link, preferred=1))
    stage.run(0.2)
    assert stage.on == "green" and stage.keeper.epoch == 1


def test_a_killed_primary_is_tried_three_times_and_then_left_for_the_standby() -> None:
    stage = started("blue", "green")
    stage.kill("blue")
    assert stage.keeper.state is State.SWITCHING
    stage.run(0.5)
    assert stage.on == "green"
    assert dials(stage)[:3] == ["blue", "blue", "blue"]
    lost, switched = stage.world.events
    assert lost == ClusterLost("blue", active=True, reason=Reason.CONNECTION_LOST)
    assert isinstance(switched, ClusterSwitched) and switched.epoch == 2 and 0 < switched.duration < 0.5
    assert [switch.current for switch in stage.keeper.status().history] == ["green"]


def test_a_primary_that_is_back_at_once_is_used_again_and_that_is_no_switch() -> None:
    stage = started("blue", "green")
    stage.world.cut(0)
    stage.run(0.5)
    assert stage.on == "blue" and stage.keeper.epoch == 2
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
    assert stage.on == "blue" and stage.keeper.status().clusters[0].impaired
    stage.clusters[0].failing = 0
    stage.run(2.0)
    assert not stage.keeper.status().clusters[0].impaired


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
    assert stage.on == "blue" and switches(stage) == [] and stage.keeper.epoch == 1
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
    blue = stage.keeper.status().clusters[0]
    assert blue.state is Condition.STANDBY and blue.restarted


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
    stage.run(20.0, until=lambda: stage.keeper.state is State.OFFLINE)
    assert dials(stage).count("blue") == 2 and dials(stage).count("green") == 2


def test_nothing_reachable_is_told_once_and_ends_by_itself_on_the_best_cluster() -> None:
    stage = started("blue", "green")
    stage.kill("blue")
    stage.kill("green")
    stage.run(60.0)
    assert stage.keeper.state is State.OFFLINE
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


def test_a_way_back_is_taken_when_the_primary_was_fit_for_long_enough() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    back = stage.world.time
    stage.run(60.0, until=lambda: stage.on == "blue")
    assert 10.0 <= stage.world.time - back <= 11.0
    assert switches(stage)[-1] == ("green", "blue", Reason.FAILBACK)
    assert stage.keeper.status().history[-1].duration < 0.1


def test_every_relapse_doubles_the_wait() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    waited = []
    for _ in range(4):
        stage.kill("blue")
        stage.run(5.0)
        assert stage.on == "green"
        stage.world.restart(0)
        back = stage.world.time
        stage.run(600.0, until=lambda: stage.on == "blue")
        waited.append(round((stage.world.time - back) / 10.0))
    assert waited == [1, 2, 4, 8]


def test_a_failed_check_begins_the_wait_anew() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    stage.run(8.0)
    stage.clusters[0].failing = 1
    stage.run(1.0)
    stage.clusters[0].failing = 0
    stage.run(8.0)
    assert stage.on == "green"
    stage.run(4.0)
    assert stage.on == "blue"


def test_a_primary_that_is_not_ready_is_asked_again_and_not_returned_to() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0, ready_check=bool)
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    stage.clusters[0].ready = False
    stage.run(60.0)
    assert stage.on == "green"
    stage.clusters[0].ready = True
    stage.run(2.0)
    assert stage.on == "blue"


def test_a_yes_of_the_ready_check_that_comes_too_late_takes_nobody_to_a_lower_cluster() -> None:
    stage = started("blue", "green", "red", failback=Failback.AUTO, failback_after=10.0, ready_check=bool)
    stage.kill("blue")
    stage.run(3.0)
    stage.kill("green")
    stage.run(3.0)
    assert stage.on == "red"
    stage.world.restart(1)
    stage.run(20.0, until=lambda: bool(stage.world.pending("ready", 1)))
    (late,) = stage.world.pending("ready", 1)
    late.due += 100.0
    stage.world.restart(0)
    asked = stage.wish("blue", holds=False)
    stage.run(1.0)
    assert asked.answers == [None] and stage.on == "blue"
    stage.world.end(late)
    stage.run(1.0)
    assert stage.on == "blue"


def test_a_primary_that_is_lost_while_it_is_asked_is_asked_again_when_it_is_back() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0, ready_check=bool)
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    stage.run(20.0, until=lambda: bool(stage.world.pending("ready")))
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    stage.run(30.0)
    assert stage.on == "blue"


def test_a_move_on_purpose_holds_until_reset() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    assert stage.wish("green").answers == []
    stage.run(300.0)
    assert stage.on == "green"
    asked = stage.wish("blue", holds=False)
    stage.run(1.0)
    assert stage.on == "blue" and asked.answers == [None]
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    stage.run(15.0)
    assert stage.on == "blue"


def test_a_wish_for_where_the_client_is_is_granted_at_once() -> None:
    stage = started("blue", "green")
    assert stage.wish("blue").answers == [None]
    assert stage.keeper.epoch == 1


def test_a_wish_for_an_unreachable_cluster_is_refused_and_changes_nothing() -> None:
    stage = started("blue", "green", standby=Standby.COLD)
    stage.set_mode("green", Mode.REFUSING)
    asked = stage.wish("green")
    stage.run(5.0)
    (error,) = asked.answers
    assert (
        isinstance(error, ClientOfflineException)
        and "green" in str(error)
        and "bad credentials" in str(error)
    )
    assert stage.on == "blue" and stage.keeper.state is State.CONNECTED and stage.world.events == []


def test_all_who_wait_for_the_same_unreachable_cluster_hear_of_it_together() -> None:
    stage = started("blue", "green", standby=Standby.COLD, connect_timeout=3.0)
    stage.set_mode("green", Mode.SILENT)
    asked = [stage.wish("green") for _ in range(10)]
    stage.run(10.0)
    assert all(isinstance(one.answers[0], ClientOfflineException) for one in asked)
    assert len(stage.world.dials) == 3


@pytest.mark.parametrize(("mode", "granted"), [(Mode.UP, True), (Mode.ABSENT, False)])
def test_a_wish_while_nothing_is_reachable_is_answered(mode: Mode, granted: bool) -> None:
    stage = started("blue", "green")
    stage.kill("blue")
    stage.kill("green")
    stage.run(5.0)
    stage.world.set_mode(1, mode)
    asked = stage.wish("green")
    stage.run(1.0)
    assert (asked.answers == [None]) is granted and len(asked.answers) == 1
    assert stage.on == ("green" if granted else None)


@pytest.mark.parametrize("standby", Standby)
def test_a_wish_outlives_a_loss_that_comes_between(standby: Standby) -> None:
    stage = started("blue", "green", "red", standby=standby)
    stage.kill("red")
    asked = stage.wish("red")
    stage.kill("blue")
    stage.clusters[2].mode = Mode.UP
    stage.run(5.0)
    assert asked.answers == [None] and stage.on == "red"


def test_wishes_are_answered_when_the_client_is_shut_down() -> None:
    stage = started("blue", "green")
    asked = [stage.wish("green"), stage.wish("blue"), stage.wish("green")]
    stage.keeper.close()
    assert [len(one.answers) for one in asked] == [1, 1, 1]


def test_a_link_that_was_left_stands_by_when_its_operations_have_ended() -> None:
    stage = started("blue", "green")
    left = stage.world.route
    stage.wish("green")
    stage.run(1.0)
    assert left in stage.world.live
    stage.wish("blue")
    stage.run(1.0)
    assert stage.world.route is left and stage.keeper.epoch == 3


def test_a_link_with_operations_that_do_not_end_is_closed_and_opened_anew() -> None:
    stage = started("blue", "green", drain_timeout=5.0)
    stage.clusters[0].busy = 1
    left = stage.world.route
    stage.wish("green")
    stage.run(4.9)
    assert left in stage.world.live
    stage.run(2.0)
    assert left not in stage.world.live
    assert stage.keeper.status().clusters[0].state is Condition.STANDBY


def test_a_link_that_is_left_twice_may_drain_for_its_full_time_twice() -> None:
    stage = started("blue", "green", drain_timeout=5.0)
    stage.clusters[0].busy = 1
    left = stage.world.route
    for label in ("green", "blue"):
        stage.wish(label)
        stage.run(2.0)
    stage.wish("green")
    stage.run(4.5)
    assert left in stage.world.live
    stage.run(1.0)
    assert left not in stage.world.live


def test_a_name_that_leads_elsewhere_twice_running_is_followed_gracefully() -> None:
    stage = started("dns-blue", "green")
    stage.world.settle_members(stage.clusters[0])
    stage.run(6.0)
    assert switches(stage) == [], "one answer is not enough"
    stage.run(6.0)
    assert switches(stage) == [("dns-blue", "dns-blue", Reason.DNS)]
    assert stage.world.route is not None and stage.world.route.known == stage.clusters[0].members
    assert len(stage.told(AddressesChanged)) == 1 and stage.told(ClusterLost) == []


def test_a_name_that_leads_to_nobody_is_not_followed() -> None:
    stage = started("dns-blue", "green")
    stage.world.settle_members(stage.clusters[0])
    stage.clusters[0].mode = Mode.SILENT
    stage.world.check_health = lambda: None  # type: ignore[method-assign]
    stage.run(30.0)
    assert switches(stage) == []


def test_a_failed_lookup_keeps_the_addresses_and_is_shown() -> None:
    stage = started("dns-blue", "green")
    addresses = stage.clusters[0].addresses
    stage.clusters[0].addresses, stage.clusters[0].dns_error = (), "SERVFAIL"
    stage.run(12.0)
    shown = stage.keeper.status().clusters[0]
    assert shown.addresses == addresses and shown.last_error == "SERVFAIL" and stage.on == "dns-blue"


def test_a_loss_in_the_middle_of_following_a_name_ends_at_its_new_members() -> None:
    stage = started("dns-blue", "green")
    stage.world.settle_members(stage.clusters[0])
    stage.run(12.0, until=lambda: stage.world.moving is not None)
    assert stage.world.route is not None
    stage.world.close(stage.world.route)
    stage.run(2.0)
    assert stage.on == "dns-blue" and stage.world.route is not None
    assert stage.world.route.known == stage.clusters[0].members


def test_nothing_is_due_while_all_is_well() -> None:
    stage = started("blue", "green", failback=Failback.AUTO)
    assert stage.keeper.next_due() is None
    stage.world.posted.append(Begin())
    stage.deliver()
    assert stage.world.dials == []
