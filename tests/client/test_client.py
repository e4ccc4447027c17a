"""HazelcastClient: its arguments, what it shows of itself, and its errors."""

import json
import pickle
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta
from typing import Any

import pytest
from hazelcast.config import Config
from hazelcast.errors import HazelcastClientNotActiveError, HazelcastError, OperationTimeoutError

from flask_hazelcast_failover import (
    ClientConfig,
    ClientOfflineException,
    ClusterChanged,
    FailoverConfig,
    HazelcastClient,
    OperationOutcomeUnknown,
)
from flask_hazelcast_failover.client.events import ClusterSwitched
from flask_hazelcast_failover.failover.client_config import build_config
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.clients import client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually


def config_of(*labels: str, try_count: int = 1) -> FailoverConfig:
    """Clusters that are not there."""
    config = FailoverConfig(try_count)
    for label in labels:
        config.add_cluster(label, [f"127.0.0.1:{free_port()}"])
    return config


# Its arguments.


def test_a_client_config_is_one_cluster(blue: LocalCluster) -> None:
    config = ClientConfig.from_dict({"cluster_name": blue.name, "cluster_members": blue.addresses})
    with HazelcastClient(config) as client:
        users: Any = client.get_map("client").blocking()
        users.set("key", 1)
        assert users.get("key") == 1
        assert [cluster.label for cluster in client.status().clusters] == ["blue"]


def test_the_configuration_is_copied(blue: LocalCluster) -> None:
    config = FailoverConfig()
    config.add_cluster(blue.name, blue.addresses)
    client = HazelcastClient(config)
    config.add_cluster("later", ["127.0.0.1:1"], priority=0)
    config.switch_to_next_cluster()
    assert client.failover.labels == ("blue",) and client.failover.current_cluster_index == 0
    with client:
        assert client.status().current_cluster == "blue"
        assert config.current_cluster_index == 1

    one = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": blue.addresses})
    client = HazelcastClient(one)
    one.cluster_name = "other"
    one.cluster_members = ["127.0.0.1:1"]
    with client:
        assert client.status().clusters[0].addresses == tuple(blue.addresses)


def test_clients_of_one_configuration_are_independent(blue: LocalCluster, green: LocalCluster) -> None:
    config = FailoverConfig()
    for cluster in (blue, green):
        config.add_cluster(cluster.name, cluster.addresses)
    with HazelcastClient(config) as one, HazelcastClient(config) as other:
        one.switch_to("green")
        assert (one.failover.current_cluster_index, other.failover.current_cluster_index) == (1, 0)
        assert config.current_cluster_index == 0
        one.shutdown()
        assert other.get_map("own-way").blocking().size() == 0


@pytest.mark.parametrize(
    ("config", "options", "tries"),
    [
        (config_of("blue", try_count=2), {}, 2),
        (config_of("blue", try_count=2), {"try_count": 4}, 4),
        (ClientConfig.from_dict({"try_count": 5}), {}, 5),
        (ClientConfig.from_dict({"try_count": 5}), {"try_count": 1}, 1),
        (Config(), {}, 3),
        (FailoverConfig.from_configs([ClientConfig.from_dict({"try_count": 5})], try_count=2), {}, 2),
    ],
)
def test_the_precedence_of_try_count(
    config: Config | FailoverConfig, options: dict[str, Any], tries: int
) -> None:
    """The option comes before the failover configuration, that before the cluster's own."""
    client = HazelcastClient(config, **options)
    assert client._runtime._options.try_count == client.failover.try_count == tries
    assert client.failover.to_client_config(0).try_count == tries


def test_options_of_a_cluster_override_common_ones() -> None:
    config = FailoverConfig()
    config.add_cluster("blue", ["127.0.0.1:1"], labels=["own"], client_name="own")
    config.add_cluster("green", ["127.0.0.1:1"])
    client = HazelcastClient(config, client_options={"labels": ["common"], "client_name": "common"})
    blue, green = client.failover.clusters
    common = client._runtime._options.client_options
    assert build_config(blue, common, ["127.0.0.1:1"]).labels == ["own"]
    assert build_config(green, common, ["127.0.0.1:1"]).labels == ["common"]
    assert client.name == "own"


def test_options_that_the_client_decides() -> None:
    """They are refused, or ignored with one warning where a whole configuration was given."""
    with pytest.raises(ValueError, match="reconnect_mode"):
        HazelcastClient(config_of("blue"), client_options={"reconnect_mode": "ON"})
    with pytest.raises(ValueError, match="async_start"):
        FailoverConfig().add_cluster("blue", ["127.0.0.1:1"], async_start=True)
    config = ClientConfig()
    config.async_start = True
    config.cluster_connect_timeout = 7.0
    with pytest.warns(UserWarning, match=r"async_start.*cluster_connect_timeout") as warned:
        HazelcastClient(config)
    assert len(warned) == 1 and warned[0].filename == __file__


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda: HazelcastClient(), TypeError, "config"),  # type: ignore[call-arg]
        (
            lambda: HazelcastClient(None),  # type: ignore[arg-type]
            TypeError,
            "config must be a FailoverConfig or a ClientConfig, not NoneType",
        ),
        (lambda: HazelcastClient({"cluster_name": "blue"}), TypeError, "not dict"),  # type: ignore[arg-type]
        (lambda: HazelcastClient(FailoverConfig()), ValueError, r"no cluster.*add_cluster"),
        (lambda: HazelcastClient(config_of("blue"), try_counts=3), ValueError, "try_counts.*try_count"),
        (lambda: HazelcastClient(config_of("blue"), cluster_members=[]), ValueError, "cluster_members"),
        (lambda: HazelcastClient(config_of("blue"), try_count=0), ValueError, "try_count.*at least 1"),
        (lambda: HazelcastClient(config_of("blue"), try_count="3"), TypeError, "try_count.*'3'"),
        (lambda: HazelcastClient(config_of("blue"), retry_delay=-1), ValueError, "retry_delay"),
        (lambda: HazelcastClient(config_of("blue"), standby="warm"), ValueError, "standby.*hot.*cold"),
        (lambda: HazelcastClient(config_of("blue")).subscribe(None), TypeError, "receiver.*NoneType"),  # type: ignore[arg-type]
        (lambda: HazelcastClient(config_of("blue")).switch_to("bleu"), ValueError, "'bleu'.*blue"),
        (lambda: HazelcastClient(config_of("blue")).switch_to(0), TypeError, "label.*int"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused_at_once(
    mistake: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        mistake()


# What it shows of itself.


def test_the_status_of_an_unused_client() -> None:
    client = HazelcastClient(config_of("blue", "green"))
    status = client.status()
    assert (status.state, status.current_cluster, status.current_index) == ("idle", None, None)
    assert (status.on_primary, status.epoch, status.history) == (False, 0, ())
    assert [(one.label, one.index, one.state, one.members) for one in status.clusters] == [
        ("blue", 0, "idle", 0),
        ("green", 1, "idle", 0),
    ]
    with pytest.raises(FrozenInstanceError):
        status.epoch = 2  # type: ignore[misc]


def test_the_status_before_and_after_a_switch(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green, health_check_interval=0.05) as client:
        eventually(lambda: all(one.latency_ms is not None for one in client.status().clusters))
        status = client.status().as_dict()
        assert json.loads(json.dumps(status)) == status
        assert set(status) == {
            *("worker", "state", "current_cluster", "current_index", "on_primary", "epoch"),
            *("clusters", "history"),
        }
        assert isinstance(status.pop("worker"), str) and status["worker" if False else "epoch"] == 1
        assert (status["state"], status["current_cluster"], status["current_index"]) == (
            "connected",
            "blue",
            0,
        )
        assert status["on_primary"] is True and status["history"] == []
        for index, (cluster, shown) in enumerate(zip((blue, green), status["clusters"], strict=True)):
            assert shown.pop("latency_ms") > 0
            assert shown == {
                "label": cluster.name,
                "cluster_name": cluster.name,
                "index": index,
                "priority": index,
                "addresses": cluster.addresses,
                "members": 1,
                "state": ["active", "standby"][index],
                "impaired": False,
                "restarted": False,
                "last_error": None,
            }
        client.switch_to("green")
        status = client.status().as_dict()
        assert (status["current_cluster"], status["current_index"], status["on_primary"]) == (
            "green",
            1,
            False,
        )
        [switch] = status["history"]
        at = datetime.fromisoformat(switch.pop("at"))
        assert at.utcoffset() == timedelta(0) and abs(time.time() - at.timestamp()) < 60
        assert 0 <= switch.pop("duration") < 5
        assert switch == {"previous": "blue", "current": "green", "reason": "manual", "epoch": 2}


def test_the_failover_view_follows_the_client_and_is_read_only(
    blue: LocalCluster, green: LocalCluster
) -> None:
    with client_on(blue, green, try_count=3) as client:
        view = client.failover
        assert view is client.failover
        assert (view.current_cluster_index, view.get_current_cluster().label) == (0, "blue")
        client.switch_to("green")
        assert (view.current_cluster_index, view.get_current_cluster().label) == (1, "green")
        assert (view.cluster_count, view.try_count, view.labels) == (2, 3, ("blue", "green"))
        assert view.to_client_config(1).cluster_members == green.addresses
        for mutate in (
            view.reset,
            view.switch_to_next_cluster,
            lambda: view.add_cluster("red", ["127.0.0.1:1"]),
            lambda: view.add_cname_cluster("red", "red.example"),
        ):
            with pytest.raises(TypeError, match=r"client\.reset\(\)"):
                mutate()
        assert view.current_cluster_index == 1


def test_the_failover_view_while_offline() -> None:
    """The index is one past the last cluster."""
    client = HazelcastClient(config_of("blue", "green"))
    with pytest.raises(ClientOfflineException):
        client.get_map("any").blocking().size()
    assert client.failover.current_cluster_index == 2
    with pytest.raises(ClientOfflineException, match=r"blue.*green"):
        client.failover.get_current_cluster()
    client.shutdown()


def test_to_client_config_configures_a_client_of_one_cluster(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        config = client.failover.to_client_config(1)
    with HazelcastClient(config) as alone:
        status = alone.status()
        assert (status.current_cluster, len(status.clusters)) == ("green", 1)


def test_the_repr_of_a_client(blue: LocalCluster) -> None:
    with client_on(blue, client_options={"client_name": "shop"}) as client:
        assert repr(client) == "<HazelcastClient 'shop' connected to blue, clusters: blue>"
        assert client.name == "shop"
    assert repr(client) == "<HazelcastClient 'shop' closed, clusters: blue>"
    assert repr(HazelcastClient(config_of("a", "b"), client_options={"client_name": "shop"})) == (
        "<HazelcastClient 'shop' idle, clusters: a, b>"
    )


@pytest.mark.parametrize("given", [{}, {"client_name": "shop"}], ids=["its own", "given"])
def test_members_know_a_client_by_its_name(
    blue: LocalCluster, green: LocalCluster, given: dict[str, str]
) -> None:
    with client_on(blue, green, client_options=given) as client:
        eventually(lambda: len(client.control.connected_clusters()) == 2)
        assert {official.name for official in client.control.connected_clusters().values()} == {client.name}


# Errors.


@pytest.mark.parametrize(
    "make",
    [ClientOfflineException, ClusterChanged, OperationOutcomeUnknown, OperationTimeoutError],
)
def test_errors_can_be_printed_and_pickled(make: type[HazelcastError]) -> None:
    error = pickle.loads(pickle.dumps(make("what happened")))
    assert type(error) is make and str(error) == "what happened"


def test_the_error_after_shutdown_can_be_printed_and_pickled() -> None:
    client = HazelcastClient(config_of("blue"))
    client.shutdown()
    with pytest.raises(HazelcastClientNotActiveError) as raised:
        client.start()
    error = pickle.loads(pickle.dumps(raised.value))
    assert isinstance(error, HazelcastClientNotActiveError) and str(error) == "the client was shut down"


def test_the_error_after_wait_timeout_has_the_state_of_each_cluster(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as silent:
        silent.freeze()
        config = FailoverConfig()
        config.add_cluster("blue", [silent.address])
        config.add_cluster("green", [f"127.0.0.1:{free_port()}"])
        client = HazelcastClient(config, wait_timeout=0.2)
        with pytest.raises(
            ClientOfflineException, match=r"wait_timeout.*blue \(connecting\).*green \(.*refused\)"
        ):
            client.get_map("any").blocking().size()
        client.shutdown()


# Receivers and threads.


def test_receivers_that_raise_or_block_delay_no_switch(blue: LocalCluster, green: LocalCluster) -> None:
    received: list[str] = []
    returned: list[bool] = []
    release = threading.Event()

    def fail(event: object) -> None:
        raise ValueError("a receiver of the test's")

    with client_on(blue, green) as client:
        users: Any = client.get_map("receivers").blocking()
        client.subscribe(fail)
        client.subscribe(lambda event: received.append(type(event).__name__))
        client.subscribe(lambda event: returned.append(release.wait(30)))
        for label in ("green", "blue", "green"):
            client.switch_to(label)
            users.get("key")
        assert not returned
        assert received[:1] in ([], ["ClusterConnected"], ["ClusterSwitched"])
        release.set()
        eventually(lambda: received.count("ClusterSwitched") == 3)


def test_a_loss_under_64_threads_is_one_switch_and_no_error(blue: LocalCluster, green: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as relay:
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [relay.address], smart_routing=False, known_members=False)
        config.add_cluster("green", green.addresses)
        with HazelcastClient(config) as client:
            switches: list[ClusterSwitched] = []
            client.subscribe(lambda e: switches.append(e) if isinstance(e, ClusterSwitched) else None)
            users: Any = client.get_map("64-threads").blocking()
            users.get("key")
            stop, errors, reads = threading.Event(), list[BaseException](), [0] * 64

            def read(number: int) -> None:
                try:
                    while not stop.is_set():
                        users.get("key")
                        reads[number] += 1
                except BaseException as error:
                    errors.append(error)

            threads = [threading.Thread(target=read, args=(number,)) for number in range(64)]
            for thread in threads:
                thread.start()
            eventually(lambda: all(reads), within=20)
            relay.refuse()
            eventually(lambda: switches, within=20)
            before = list(reads)
            eventually(lambda: all(now > then for now, then in zip(reads, before, strict=True)), within=20)
            stop.set()
            for thread in threads:
                thread.join(10)
            assert not errors
            assert len(switches) == 1 and client.status().epoch == 2


def test_switches_can_be_requested_on_any_thread(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        users: Any = client.get_map("switches")
        users.size().result()
        done: list[str | None] = []

        def switch(label: str) -> None:
            client.switch_to(label)
            done.append(client.status().current_cluster)

        users.size().add_done_callback(lambda _: switch("green"))
        eventually(lambda: done == ["green"])
        users.blocking().add_entry_listener(added_func=lambda _: switch("blue"))
        users.blocking().delete("key")
        users.blocking().set("key", 1)
        eventually(lambda: done == ["green", "blue"])


def test_an_ordinary_configuration_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HazelcastClient(config_of("blue"), client_options={"labels": ["x"]})
        HazelcastClient(ClientConfig.from_dict({"cluster_name": "blue", "try_count": 2}))
