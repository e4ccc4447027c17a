"""What the controller decides of its own accord or when asked: moves, the way back, names that lead elsewhere."""

from dataclasses import replace

import pytest

from flask_hazelcast_failover.client._controller.messages import Begin, Resolved
from flask_hazelcast_failover.client.events import (
    AddressesChanged,
    ClusterLost,
    Reason,
)
from flask_hazelcast_failover.client.options import Failback, Standby
from flask_hazelcast_failover.client.status import Condition, State
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.harness import stage_of, started, switches
from tests.support.scripted_world import Mode


def test_a_way_back_is_taken_when_the_primary_was_fit_for_long_enough() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    back = stage.world.time
    stage.run(60.0, until=lambda: stage.on == "blue")
    assert 10.0 <= stage.world.time - back <= 11.0
    assert switches(stage)[-1] == ("green", "blue", Reason.FAILBACK)
    assert stage.controller.status().history[-1].duration < 0.1


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


def test_a_check_that_fails_on_the_way_back_begins_the_wait_anew() -> None:
    stage = started("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    stage.kill("blue")
    stage.run(5.0)
    stage.world.restart(0)
    stage.run(60.0, until=lambda: bool(stage.world.pending("prepare", 0)))
    stage.clusters[0].failing = 1
    stage.world.check_health()
    stage.clusters[0].failing = 0
    stage.run(8.0)
    assert stage.on == "green"
    assert not stage.told(ClusterLost)[1:], "it is only not fit"
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
    assert stage.controller.epoch == 1


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
    assert stage.on == "blue" and stage.controller.state is State.CONNECTED and stage.world.events == []


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
    stage.controller.close()
    assert [len(one.answers) for one in asked] == [1, 1, 1]


def test_a_link_that_was_left_stands_by_when_its_operations_have_ended() -> None:
    stage = started("blue", "green")
    left = stage.world.route
    stage.wish("green")
    stage.run(1.0)
    assert left in stage.world.live
    stage.wish("blue")
    stage.run(1.0)
    assert stage.world.route is left and stage.controller.epoch == 3


def test_a_link_with_operations_that_do_not_end_is_closed_and_opened_anew() -> None:
    stage = started("blue", "green", drain_timeout=5.0)
    stage.clusters[0].busy = 1
    left = stage.world.route
    stage.wish("green")
    stage.run(4.9)
    assert left in stage.world.live
    stage.run(2.0)
    assert left not in stage.world.live
    assert stage.controller.status().clusters[0].state is Condition.STANDBY


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


def test_answers_with_one_between_that_denies_them_are_not_running_however_late_looking_there_ends() -> None:
    stage = started("dns-blue", "green")
    here = stage.clusters[0].addresses
    stage.world.settle_members(stage.clusters[0])
    there = stage.clusters[0].addresses
    for addresses in (there, here, there):
        stage.world.posted.append(Resolved(0, addresses, None))
        stage.deliver()
    early, late = stage.world.pending("scout")
    for scout in (early, late):
        stage.world.end(scout)
        stage.deliver()
    assert stage.world.moving is None and switches(stage) == []


def test_a_name_that_leads_here_and_elsewhere_as_well_is_not_followed() -> None:
    stage = started("dns-blue", "green")
    here = stage.clusters[0].addresses
    stage.world.settle_members(stage.clusters[0])
    stage.clusters[0].addresses += here[:1]
    stage.run(30.0)
    assert switches(stage) == []


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
    shown = stage.controller.status().clusters[0]
    assert shown.addresses == addresses and shown.last_error == "SERVFAIL" and stage.on == "dns-blue"
    stage.kill("dns-blue")
    stage.run(12.0)
    assert stage.controller.status().clusters[0].last_error == "refused; SERVFAIL"


def test_a_name_whose_answers_are_good_for_no_time_is_not_asked_for_in_a_loop() -> None:
    stage = started("dns-blue")
    config = stage.controller.records[0].config
    assert config.dns is not None
    stage.controller.records[0].config = replace(config, dns=replace(config.dns, refresh_interval=0.0))
    stage.run(6.0)
    asked: list[float] = []
    resolve = stage.world.resolve

    def counted(index: int) -> None:
        asked.append(stage.world.time)
        resolve(index)

    stage.world.resolve = counted  # type: ignore[method-assign]
    stage.run(10.0)
    assert 8 <= len(asked) <= 11


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
    assert stage.controller.next_due() is None
    stage.world.posted.append(Begin())
    stage.deliver()
    assert stage.world.dials == []


def test_a_link_that_is_about_to_be_used_again_is_not_closed_when_it_has_drained() -> None:
    stage = started("blue", "green", standby=Standby.COLD)
    stage.wish("green")
    stage.run(1.0, until=lambda: stage.on == "green")
    left = stage.world.live[0]
    asked = stage.wish("blue")
    (drain,) = stage.world.pending("drain")
    stage.world.end(drain)
    stage.deliver()
    stage.run(1.0)
    assert asked.answers == [None] and stage.world.route is left


def test_a_second_move_leaves_operations_of_the_first_their_time() -> None:
    stage = started("blue", "green", "red", standby=Standby.COLD, drain_timeout=5.0)
    stage.clusters[0].busy = 1
    left = stage.world.route
    stage.wish("green")
    stage.run(0.5)
    stage.wish("red")
    stage.run(0.5)
    assert stage.on == "red" and left in stage.world.live
    stage.run(5.0)
    assert left not in stage.world.live


def test_a_name_is_not_followed_over_a_connection_that_is_down_already() -> None:
    stage = started("dns-blue", "green")
    stage.world.settle_members(stage.clusters[0])
    stage.run(8.0)
    stage.run(12.0, until=lambda: bool(stage.world.pending("scout")))
    stage.world.end(stage.world.pending("scout")[0])
    stage.world.links[-1].is_open = False
    stage.deliver()
    assert stage.world.moving is None and stage.world.links[-1].is_discarded


def test_a_cluster_whose_listeners_take_long_is_not_waited_for_alone() -> None:
    """After 30 s the next cluster is tried as well, and the one that is ready first is taken."""
    stage = stage_of("blue", "green")
    stage.clusters[0].carry_time = 50.0
    stage.clusters[1].carry_time = 5.0
    stage.begin()
    stage.run(29.0)
    assert not switches(stage) and stage.world.route is None
    stage.run(7.0)
    assert stage.on == "green"
    stage.run(60.0)
    assert stage.world.route is stage.controller.active
    assert not any(link.is_discarded for link in stage.world.links), "both stay connected"


def test_the_first_cluster_is_taken_if_it_is_ready_before_the_next() -> None:
    """The next cluster, tried after 30 s, is called off when the first one is ready after all."""
    stage = stage_of("blue", "green")
    stage.clusters[0].carry_time = 35.0
    stage.clusters[1].carry_time = 10.0
    stage.begin()
    stage.run(36.0)
    assert stage.on == "blue"
    stage.run(60.0)
    assert stage.on == "blue" and stage.world.shown is not None
    assert [cluster.state for cluster in stage.world.shown.clusters] == ["active", "standby"]


def test_a_cluster_that_fails_while_the_next_is_tried_is_called_off() -> None:
    """A slow first cluster that dies does not disturb the next one."""
    stage = stage_of("blue", "green")
    stage.clusters[0].carry_time = 100.0
    stage.clusters[1].carry_time = 10.0
    stage.begin()
    stage.run(32.0)
    stage.kill("blue")
    stage.run(12.0)
    assert stage.on == "green"


def test_a_switch_that_takes_long_is_answered_when_the_client_ends() -> None:
    """A switch on purpose that was set aside, so that others are tried as well, leaves nobody waiting."""
    stage = started("blue", "green", "white", standby=Standby.HOT)
    stage.clusters[1].carry_time = stage.clusters[2].carry_time = 500.0
    asked = stage.wish("green")
    stage.run(1.0)
    stage.kill("blue")
    stage.run(40.0)
    assert asked.answers == []
    stage.controller.close()
    assert len(asked.answers) == 1 and asked.answers[0] is not None


def test_a_cluster_whose_listeners_took_long_says_why_it_was_passed_over() -> None:
    """The reason stays with a cluster that another one was faster than."""
    stage = stage_of("blue", "green")
    stage.clusters[0].carry_time = 500.0
    stage.begin()
    stage.run(31.0)
    assert stage.on == "green" and stage.world.shown is not None
    assert "green was taken" in (stage.world.shown.clusters[0].last_error or "")
