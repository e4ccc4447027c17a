"""What the controller decides of its own accord or when asked: moves, the way back, names that lead elsewhere."""

from dataclasses import replace

import pytest

from flask_hazelcast_failover.client._controller.messages import Begin, Resolved
from flask_hazelcast_failover.client.events import AddressesChanged, ClusterLost, Reason
from flask_hazelcast_failover.client.options import Failback, Standby
from flask_hazelcast_failover.client.status import Condition, State
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.harness import connected, harness_of, results_of, switches
from tests.support.scripted_clusters import Mode


def test_a_way_back_is_taken_when_the_primary_was_fit_for_long_enough() -> None:
    harness = connected("blue", "green", failback=Failback.AUTO, failback_after=10.0)
    harness.kill("blue")
    harness.run(5.0)
    harness.effects.restart(0)
    back = harness.effects.time
    harness.run(60.0, until=lambda: harness.on == "blue")
    assert 10.0 <= harness.effects.time - back <= 11.0
    assert switches(harness)[-1] == ("green", "blue", Reason.FAILBACK)
    assert harness.controller.status().history[-1].duration < 0.1


def test_every_relapse_doubles_the_wait() -> None:
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


def test_a_failed_check_begins_the_wait_anew() -> None:
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


def test_a_check_that_fails_on_the_way_back_begins_the_wait_anew() -> None:
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


def test_a_primary_that_is_not_ready_is_asked_again_and_not_returned_to() -> None:
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


def test_a_yes_of_the_ready_check_that_comes_too_late_takes_nobody_to_a_lower_cluster() -> None:
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


def test_a_primary_that_is_lost_while_it_is_asked_is_asked_again_when_it_is_back() -> None:
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


def test_a_move_on_purpose_holds_until_reset() -> None:
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


def test_a_wish_for_where_the_client_is_is_granted_at_once() -> None:
    harness = connected("blue", "green")
    assert results_of(harness.request("blue")) == [None]
    assert harness.controller.active.epoch == 1


def test_a_wish_for_an_unreachable_cluster_is_refused_and_changes_nothing() -> None:
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


def test_all_who_wait_for_the_same_unreachable_cluster_hear_of_it_together() -> None:
    harness = connected("blue", "green", standby=Standby.COLD, connect_timeout=3.0)
    harness.set_mode("green", Mode.SILENT)
    asked = [harness.request("green") for _ in range(10)]
    harness.run(10.0)
    assert all(isinstance(results_of(one)[0], ClientOfflineException) for one in asked)
    assert len(harness.effects.attempts) == 3


@pytest.mark.parametrize(("mode", "granted"), [(Mode.UP, True), (Mode.ABSENT, False)])
def test_a_wish_while_nothing_is_reachable_is_answered(mode: Mode, granted: bool) -> None:
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
def test_a_wish_outlives_a_loss_that_comes_between(standby: Standby) -> None:
    harness = connected("blue", "green", "red", standby=standby)
    harness.kill("red")
    asked = harness.request("red")
    harness.kill("blue")
    harness.clusters[2].mode = Mode.UP
    harness.run(5.0)
    assert results_of(asked) == [None] and harness.on == "red"


def test_wishes_are_answered_when_the_client_is_shut_down() -> None:
    harness = connected("blue", "green")
    asked = [harness.request("green"), harness.request("blue"), harness.request("green")]
    harness.controller.close()
    assert [len(results_of(one)) for one in asked] == [1, 1, 1]


def test_a_link_that_was_left_stands_by_when_its_operations_have_ended() -> None:
    harness = connected("blue", "green")
    left = harness.effects.active
    harness.request("green")
    harness.run(1.0)
    assert left in harness.effects.live
    harness.request("blue")
    harness.run(1.0)
    assert harness.effects.active is left and harness.controller.active.epoch == 3


def test_a_link_with_operations_that_do_not_end_is_closed_and_opened_anew() -> None:
    harness = connected("blue", "green", drain_timeout=5.0)
    harness.clusters[0].busy = 1
    left = harness.effects.active
    harness.request("green")
    harness.run(4.9)
    assert left in harness.effects.live
    harness.run(2.0)
    assert left not in harness.effects.live
    assert harness.controller.status().clusters[0].state is Condition.STANDBY


def test_a_link_that_is_left_twice_may_drain_for_its_full_time_twice() -> None:
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


def test_a_name_that_leads_elsewhere_twice_running_is_followed_gracefully() -> None:
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.run(6.0)
    assert switches(harness) == [], "one answer is not enough"
    harness.run(6.0)
    assert switches(harness) == [("dns-blue", "dns-blue", Reason.DNS)]
    assert harness.effects.active is not None and harness.effects.active.known == harness.clusters[0].members
    assert len(harness.events_of(AddressesChanged)) == 1 and harness.events_of(ClusterLost) == []


def test_answers_with_one_between_that_denies_them_are_not_running_however_late_looking_there_ends() -> None:
    harness = connected("dns-blue", "green")
    here = harness.clusters[0].addresses
    harness.clusters[0].replace_members()
    there = harness.clusters[0].addresses
    for addresses in (there, here, there):
        harness.effects.posted.append(Resolved(0, addresses, None))
        harness.deliver()
    early, late = harness.effects.pending("verify")
    for scout in (early, late):
        harness.effects.end(scout)
        harness.deliver()
    assert harness.effects.preparing is None and switches(harness) == []


def test_a_name_that_leads_here_and_elsewhere_as_well_is_not_followed() -> None:
    harness = connected("dns-blue", "green")
    here = harness.clusters[0].addresses
    harness.clusters[0].replace_members()
    harness.clusters[0].addresses += here[:1]
    harness.run(30.0)
    assert switches(harness) == []


def test_a_name_that_leads_to_nobody_is_not_followed() -> None:
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.clusters[0].mode = Mode.SILENT
    harness.effects.check_health = lambda: None  # type: ignore[method-assign]
    harness.run(30.0)
    assert switches(harness) == []


def test_a_failed_lookup_keeps_the_addresses_and_is_shown() -> None:
    harness = connected("dns-blue", "green")
    addresses = harness.clusters[0].addresses
    harness.clusters[0].addresses, harness.clusters[0].dns_error = (), "SERVFAIL"
    harness.run(12.0)
    shown = harness.controller.status().clusters[0]
    assert shown.addresses == addresses and shown.last_error == "SERVFAIL" and harness.on == "dns-blue"
    harness.kill("dns-blue")
    harness.run(12.0)
    assert harness.controller.status().clusters[0].last_error == "refused; SERVFAIL"


def test_a_name_whose_answers_are_good_for_no_time_is_not_asked_for_in_a_loop() -> None:
    harness = connected("dns-blue")
    config = harness.controller.records[0].config
    assert config.dns is not None
    harness.controller.records[0].config = replace(config, dns=replace(config.dns, refresh_interval=0.0))
    harness.run(6.0)
    asked: list[float] = []
    resolve = harness.effects.resolve

    def counted(index: int) -> None:
        asked.append(harness.effects.time)
        resolve(index)

    harness.effects.resolve = counted  # type: ignore[method-assign]
    harness.run(10.0)
    assert 8 <= len(asked) <= 11


def test_a_loss_in_the_middle_of_following_a_name_ends_at_its_new_members() -> None:
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.run(12.0, until=lambda: harness.effects.preparing is not None)
    assert harness.effects.active is not None
    harness.effects.disconnect(harness.effects.active)
    harness.run(2.0)
    assert harness.on == "dns-blue" and harness.effects.active is not None
    assert harness.effects.active.known == harness.clusters[0].members


def test_nothing_is_due_while_all_is_well() -> None:
    harness = connected("blue", "green", failback=Failback.AUTO)
    assert harness.controller.next_due() is None
    harness.effects.posted.append(Begin())
    harness.deliver()
    assert harness.effects.attempts == []


def test_a_link_that_is_about_to_be_used_again_is_not_closed_when_it_has_drained() -> None:
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


def test_a_second_move_leaves_operations_of_the_first_their_time() -> None:
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


def test_a_name_is_not_followed_over_a_connection_that_is_down_already() -> None:
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.run(8.0)
    harness.run(12.0, until=lambda: bool(harness.effects.pending("verify")))
    harness.effects.end(harness.effects.pending("verify")[0])
    harness.effects.links[-1].is_open = False
    harness.deliver()
    assert harness.effects.preparing is None and harness.effects.links[-1].is_closed


def test_a_cluster_whose_listeners_take_long_is_not_waited_for_alone() -> None:
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


def test_the_first_cluster_is_taken_if_it_is_ready_before_the_next() -> None:
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


def test_a_cluster_that_fails_while_the_next_is_tried_is_called_off() -> None:
    """A slow first cluster that dies does not disturb the next one."""
    harness = harness_of("blue", "green")
    harness.clusters[0].prepare_time = 100.0
    harness.clusters[1].prepare_time = 10.0
    harness.begin()
    harness.run(32.0)
    harness.kill("blue")
    harness.run(12.0)
    assert harness.on == "green"


def test_a_switch_that_takes_long_is_answered_when_the_client_ends() -> None:
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


def test_a_cluster_whose_listeners_took_long_says_why_it_was_passed_over() -> None:
    """The reason stays with a cluster that another one was faster than."""
    harness = harness_of("blue", "green")
    harness.clusters[0].prepare_time = 500.0
    harness.begin()
    harness.run(31.0)
    assert harness.on == "green" and harness.effects.status is not None
    assert "green was taken" in (harness.effects.status.clusters[0].last_error or "")
