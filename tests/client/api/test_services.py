"""Lifecycle and membership listeners get the events of one client, whatever its cluster."""

import threading
from typing import Any

import pytest
from hazelcast.lifecycle import LifecycleState

from flask_hazelcast_failover import ClientConfig, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import QUICK, client_on
from tests.support.fair_time import fair_time
from tests.support.waiting import eventually


def test_lifecycle_and_membership(blue: LocalCluster, green: LocalCluster) -> None:
    config = FailoverConfig()
    states: list[str] = []
    joined: list[int] = []
    left: list[int] = []
    given: dict[str, Any] = {
        "lifecycle_listeners": [states.append],
        "membership_listeners": [
            (lambda m: joined.append(m.address.port), lambda m: left.append(m.address.port))
        ],
    }
    config.add_cluster(blue.name, blue.addresses, **given)
    config.add_cluster(green.name, green.addresses, **given)
    ports = [int(cluster.addresses[0].rpartition(":")[2]) for cluster in (blue, green)]
    client: Any = HazelcastClient(config, **QUICK).start()
    # At once, as the official client reports them before its constructor returns.
    assert joined == ports[:1]
    assert states == [LifecycleState.STARTING, LifecycleState.STARTED, LifecycleState.CONNECTED]
    client.switch_to("green")
    eventually(lambda: joined == ports and left == ports[:1])
    assert [member.address.port for member in client.cluster_service.get_members()] == ports[1:]
    assert states[3:] == []
    assert client.lifecycle_service.is_running()
    client.shutdown()
    assert states[3:] == [
        LifecycleState.SHUTTING_DOWN,
        LifecycleState.DISCONNECTED,
        LifecycleState.SHUTDOWN,
    ]
    assert not client.lifecycle_service.is_running()


def test_offline_client(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    """It knows its last members, and reports DISCONNECTED once."""
    blue, green = pair
    states: list[str] = []
    with client_on(blue, green) as client:
        client.lifecycle_service.add_listener(states.append)
        green.kill()  # first, so that only one loss is reported
        blue.kill()
        eventually(lambda: client.status().state == "offline")
        assert [member.address.port for member in client.cluster_service.get_members()] == [
            int(blue.addresses[0].rpartition(":")[2])
        ]
        assert client.cluster_service.get_members(lambda member: False) == []
    assert states == [LifecycleState.DISCONNECTED, LifecycleState.SHUTTING_DOWN, LifecycleState.SHUTDOWN]


@pytest.mark.timing
def test_listener_that_blocks_at_start(blue: LocalCluster) -> None:
    release = threading.Event()
    config = ClientConfig.from_dict(
        {
            "cluster_name": "blue",
            "cluster_members": blue.addresses,
            "membership_listeners": [(lambda _: release.wait(30), None)],
        }
    )
    began = fair_time()
    with HazelcastClient(config) as client:
        assert client.get_map("started").blocking().size() == 0
        assert fair_time() - began < 5
        release.set()


def test_listeners_of_a_client_config(blue: LocalCluster) -> None:
    states: list[str] = []
    config = ClientConfig.from_dict(
        {"cluster_name": "blue", "cluster_members": blue.addresses, "lifecycle_listeners": [states.append]}
    )
    with HazelcastClient(config):
        eventually(lambda: LifecycleState.CONNECTED in states)


def test_lifecycle_of_a_loss(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green) as client:
        states: list[str] = []
        id_ = client.lifecycle_service.add_listener(states.append)
        blue.kill()
        eventually(lambda: states == [LifecycleState.DISCONNECTED, LifecycleState.CONNECTED])
        assert client.lifecycle_service.remove_listener(id_) is True
        assert client.lifecycle_service.remove_listener(id_) is False


def test_membership_of_a_loss(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    blue, green = pair
    joined: list[int] = []
    left: list[int] = []
    with client_on(blue, green) as client:
        client.cluster_service.add_listener(
            lambda member: joined.append(member.address.port), lambda member: left.append(member.address.port)
        )
        ports = [int(cluster.addresses[0].rpartition(":")[2]) for cluster in (blue, green)]
        blue.kill()
        eventually(lambda: (joined, left) == ([ports[1]], [ports[0]]))
        green.restart()  # at the same address, another member
        eventually(lambda: (joined, left) == ([ports[1]] * 2, ports))
        assert client.status().epoch == 3


def test_fire_for_existing(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        joined: list[Any] = []
        id_ = client.cluster_service.add_listener(joined.append, None, fire_for_existing=True)
        assert [member.uuid for member in joined] == [m.uuid for m in client.cluster_service.get_members()]
        assert client.cluster_service.remove_listener(id_) is True
        assert client.cluster_service.remove_listener(id_) is False


def test_fire_for_existing_before_connecting(blue: LocalCluster) -> None:
    config = FailoverConfig()
    config.add_cluster(blue.name, blue.addresses)
    client: Any = HazelcastClient(config)
    joined: list[Any] = []
    client.cluster_service.add_listener(joined.append, None, fire_for_existing=True)
    assert [member.uuid for member in joined] == [m.uuid for m in client.cluster_service.get_members()]
    client.shutdown()  # which waits for the listeners' thread
    assert len(joined) == 1
