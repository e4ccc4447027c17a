"""When the controller follows a name that leads elsewhere. Times are the script's."""

from dataclasses import replace

from flask_hazelcast_failover.client._controller.messages import Resolved
from flask_hazelcast_failover.client.events import AddressesChanged, ClusterLost, Reason
from tests.support.harness import connected, switches
from tests.support.scripted_clusters import Mode


def test_name_that_moves_is_followed() -> None:
    """A name that leads to other members twice in a row is followed by a graceful switch."""
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.run(6.0)
    assert switches(harness) == [], "one answer is not enough"
    harness.run(6.0)
    assert switches(harness) == [("dns-blue", "dns-blue", Reason.DNS)]
    assert harness.effects.active is not None and harness.effects.active.known == harness.clusters[0].members
    assert len(harness.events_of(AddressesChanged)) == 1 and harness.events_of(ClusterLost) == []


def test_own_answer_between_foreign_ones() -> None:
    """Two foreign answers with an own one between them are not in a row, however late they are verified."""
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


def test_name_with_own_and_foreign_addresses() -> None:
    """One own address is enough to stay."""
    harness = connected("dns-blue", "green")
    here = harness.clusters[0].addresses
    harness.clusters[0].replace_members()
    harness.clusters[0].addresses += here[:1]
    harness.run(30.0)
    assert switches(harness) == []


def test_name_that_leads_to_nobody() -> None:
    """A name that leads where no member answers is not followed."""
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.clusters[0].mode = Mode.SILENT
    harness.effects.check_health = lambda: None  # type: ignore[method-assign]
    harness.run(30.0)
    assert switches(harness) == []


def test_failed_lookup_keeps_the_addresses() -> None:
    """It is shown in last_error, beside why an attempt failed."""
    harness = connected("dns-blue", "green")
    addresses = harness.clusters[0].addresses
    harness.clusters[0].addresses, harness.clusters[0].dns_error = (), "SERVFAIL"
    harness.run(12.0)
    shown = harness.controller.status().clusters[0]
    assert shown.addresses == addresses and shown.last_error == "SERVFAIL" and harness.on == "dns-blue"
    harness.kill("dns-blue")
    harness.run(12.0)
    assert harness.controller.status().clusters[0].last_error == "refused; SERVFAIL"


def test_refresh_interval_zero() -> None:
    """Such a name is looked up about once a second."""
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


def test_loss_while_a_name_is_followed() -> None:
    """The client ends at the new members."""
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.run(12.0, until=lambda: harness.effects.preparing is not None)
    assert harness.effects.active is not None
    harness.effects.disconnect(harness.effects.active)
    harness.run(2.0)
    assert harness.on == "dns-blue" and harness.effects.active is not None
    assert harness.effects.active.known == harness.clusters[0].members


def test_moved_name_with_a_link_down() -> None:
    """A name is not followed over a link that is down already."""
    harness = connected("dns-blue", "green")
    harness.clusters[0].replace_members()
    harness.run(8.0)
    harness.run(12.0, until=lambda: bool(harness.effects.pending("verify")))
    harness.effects.end(harness.effects.pending("verify")[0])
    harness.effects.links[-1].is_open = False
    harness.deliver()
    assert harness.effects.preparing is None and harness.effects.links[-1].is_closed
