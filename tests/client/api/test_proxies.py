"""The proxies stand in for the official ones: what they look like, what they take, what they raise."""

import copy
import inspect
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hazelcast.client import HazelcastClient as OfficialClient
from hazelcast.errors import HazelcastError, IllegalMonitorStateError, OperationTimeoutError
from hazelcast.future import Future, combine_futures
from hazelcast.predicate import sql as sql_predicate

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client._api.proxies import following_class
from flask_hazelcast_failover.client._operations.idempotency import TABLE
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.client.operations.test_idempotency import STRUCTURES
from tests.support.clients import client_at, client_on
from tests.support.fair_time import fair_time
from tests.support.relay import Relay
from tests.support.waiting import eventually

FOLLOWED = [name for name, rows in TABLE.items() if "blocking" in rows]
METHODS = [(name, method) for name in FOLLOWED for method in TABLE[name]]
GETTERS = [
    name for name in TABLE["HazelcastClient"] if name.startswith("get_") and name != "get_distributed_objects"
]
CP_GETTERS = sorted(TABLE["CPSubsystem"])


def blocking_version(official: type[Any]) -> type[Any]:
    found: type[Any] = getattr(inspect.getmodule(official), f"Blocking{official.__name__}")
    return found


def nowhere() -> Any:
    config = FailoverConfig()
    config.add_cluster("nowhere", [f"127.0.0.1:{free_port()}"])
    return HazelcastClient(config, try_count=1, connect_timeout=0.2, wait_timeout=0.2)


@pytest.fixture(scope="module")
def client(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    with client_on(*shared_clusters) as connected:
        yield connected


@pytest.fixture(scope="module")
def official(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    cluster = shared_clusters[0]
    connected = OfficialClient(cluster_name=cluster.name, cluster_members=cluster.addresses)
    yield connected
    connected.shutdown()


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_proxy_methods_look_official(name: str, method: str) -> None:
    if method == "blocking":
        return  # its own test below
    official = STRUCTURES[name]
    following = following_class(official)
    for ours, theirs in ((following, official), (following._blocking_class, blocking_version(official))):
        assert inspect.signature(getattr(ours, method)) == inspect.signature(getattr(theirs, method))
        assert getattr(ours, method).__annotations__ == getattr(theirs, method).__annotations__
        assert getattr(ours, method).__doc__ == getattr(theirs, method).__doc__
        assert getattr(ours, method).__name__ == method


@pytest.mark.parametrize("name", sorted(TABLE["HazelcastClient"]))
def test_client_methods_look_official(name: str) -> None:
    if name == "shutdown":
        return  # promises more than the official one
    ours, theirs = getattr(HazelcastClient, name), getattr(OfficialClient, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours.__doc__ == theirs.__doc__


@pytest.mark.parametrize("getter", GETTERS + CP_GETTERS)
def test_getters_send_no_request(getter: str) -> None:
    client = nowhere()
    holder = client.cp_subsystem if getter in CP_GETTERS else client
    proxy: Any = getattr(holder, getter)("orders")
    assert proxy.name == "orders"
    assert type(proxy).__name__ in STRUCTURES
    assert isinstance(proxy.blocking(), blocking_version(STRUCTURES[type(proxy).__name__]))
    assert proxy.blocking()._wrapped is proxy
    assert proxy.blocking().blocking() is proxy.blocking()
    assert repr(proxy) == repr(proxy.blocking()) == f'{type(proxy).__name__}(name="orders")'
    assert isinstance(proxy, STRUCTURES[type(proxy).__name__])
    assert client.status().state == "idle"
    client.shutdown()


@pytest.mark.parametrize("getter", GETTERS)
def test_same_name_same_proxy(getter: str, client: Any) -> None:
    assert getattr(client, getter)("same") is getattr(client, getter)("same")
    assert getattr(client, getter)("same") is not getattr(client, getter)("other")


def test_misspelt_method_sends_no_request() -> None:
    client = nowhere()
    for holder in (client, client.get_map("m"), client.get_map("m").blocking()):
        with pytest.raises(AttributeError, match="gett"):
            _ = holder.gett
        assert not hasattr(holder, "_repr_html_")
    assert client.status().state == "idle"
    client.shutdown()


@pytest.mark.parametrize("name", ["@group", "a@b@c", "x@METADATA", "x@"])
def test_bad_cp_name_is_refused_as_officially(name: str) -> None:
    client = nowhere()
    with pytest.raises(AssertionError):
        client.cp_subsystem.get_lock(name)
    assert client.cp_subsystem.get_lock("a@default") is client.cp_subsystem.get_lock("a")
    client.shutdown()


BAD_CALLS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("get_map", "get", (None,)),
    ("get_map", "put", ("k", None)),
    ("get_map", "put", ("only-a-key",)),
    ("get_map", "get", ()),
    ("get_map", "get", ("a", "b", "c")),
    ("get_map", "try_put", ("k", None, 1)),
    ("get_map", "remove_entry_listener", (None,)),
    ("get_map", "project", (None,)),
    ("get_queue", "offer", (None,)),
    ("get_queue", "offer", ()),
    ("get_list", "add_at", (0,)),
    ("get_set", "add", (None,)),
    ("get_multi_map", "put", ("k", None)),
    ("get_replicated_map", "put", (None, 1)),
    ("get_ringbuffer", "read_one", (-2,)),
    ("get_ringbuffer", "read_many", (0, 5, 1)),
    ("get_topic", "publish", (None,)),
    ("get_topic", "add_listener", ()),
    ("get_reliable_topic", "add_listener", (None,)),
    ("get_reliable_topic", "add_listener", ("not-callable",)),
    ("get_executor", "execute_on_key_owner", (None, None)),
]


@pytest.mark.parametrize("flavour", ["future", "blocking"])
@pytest.mark.parametrize(("getter", "method", "arguments"), BAD_CALLS)
def test_bad_arguments_raise_the_official_error(
    getter: str,
    method: str,
    arguments: tuple[Any, ...],
    flavour: str,
    client: Any,
    official: Any,
) -> None:
    def failure(of: Any) -> type[BaseException] | None:
        proxy = getattr(of, getter)("bad-calls")
        if flavour == "blocking":
            proxy = proxy.blocking()
        try:
            getattr(proxy, method)(*arguments)
        except Exception as error:
            return type(error)
        return None  # some versions take what others refuse

    assert failure(client) is failure(official)


def test_both_flavours_give_the_same_results(client: Any) -> None:
    numbers = client.get_map("numbers")
    assert numbers.put("one", 1).result() is None
    assert numbers.blocking().put("one", 2) == 1
    assert numbers.get("one").result() == numbers.blocking().get("one") == 2
    assert isinstance(numbers.get("one"), Future)
    assert numbers.blocking().values(sql_predicate("this > 1")) == [2]


def test_futures_are_official_ones(client: Any) -> None:
    numbers = client.get_map("futures")
    done = threading.Event()
    future = numbers.set("a", 20)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(5)
    assert future.is_success() and future.done() and not future.running() and future.exception() is None
    assert numbers.get("a").continue_with(lambda found: found.result() + 1).result() == 21
    assert numbers.get("a").continue_with(lambda found: numbers.get("a")).result() == 20


def test_futures_can_be_combined(client: Any) -> None:
    client.get_map("combined").blocking().set("a", 1)
    asked = [client.get_map("combined").get("a"), client.get_list("combined").size()]
    assert combine_futures(asked).result() == [1, 0]
    failing = client.get_map("combined").unlock("nobody has locked it")
    with pytest.raises(IllegalMonitorStateError):
        combine_futures([*asked, failing]).result()


def test_callback_that_raises(client: Any) -> None:
    numbers = client.get_map("callbacks")
    numbers.get("x").add_done_callback(lambda _: 1 / 0)
    assert numbers.get("x").result() is None


def test_errors_of_members_are_raised_unchanged(client: Any) -> None:
    numbers = client.get_map("errors")
    numbers.blocking().set("a", 1)
    with pytest.raises(HazelcastError) as blocking:
        numbers.blocking().unlock("nobody has locked it")
    with pytest.raises(HazelcastError) as waited:
        numbers.unlock("nobody has locked it").result()
    assert blocking.type is waited.type is IllegalMonitorStateError


def test_structures_in_use_are_listed(client: Any) -> None:
    structures = [client.get_set("listed"), client.get_list("listed"), client.get_map("listed")]
    assert all(any(found is one for found in client.get_distributed_objects()) for one in structures)


@pytest.mark.timing
def test_listing_on_a_frozen_cluster(
    blue: LocalCluster,
) -> None:
    """It takes no longer than one operation, however many structures are in use."""
    with (
        Relay(blue.addresses[0]) as relay,
        client_at((blue.name, relay.address), health_check_interval=0, operation_timeout=0.5) as client,
    ):
        for number in range(10):
            client.get_map(f"unlisted-{number}")
        relay.freeze()
        began = fair_time()
        with pytest.raises(OperationTimeoutError):
            client.get_distributed_objects()
        assert fair_time() - began < 2.0


FLAVOURS: dict[str, Callable[[Any], Any]] = {
    "future": lambda structure: structure,
    "blocking": lambda structure: structure.blocking(),
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("getter", [name for name in GETTERS if name != "get_vector_collection"])
def test_destroy_blocks_in_either_flavour(client: Any, getter: str, flavour: str) -> None:
    assert FLAVOURS[flavour](getattr(client, getter)(f"structure-{flavour}")).destroy() is True


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_destroyed_structure_can_be_used_anew(client: Any, flavour: str) -> None:
    structure = client.get_map("structure")
    structure.blocking().set("a", 1)
    assert FLAVOURS[flavour](structure).destroy() is True
    assert structure.blocking().get("a") is None
    assert client.get_map("structure").blocking().get("a") is None


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_listeners_end_with_their_structure(blue: LocalCluster, green: LocalCluster, flavour: str) -> None:
    with client_on(blue, green) as client, client_on(green) as other:
        heard: list[Any] = []
        structure = client.get_map("structure-heard")
        structure.blocking().add_entry_listener(added_func=heard.append)
        FLAVOURS[flavour](structure).destroy()
        kept: Any = client.get_map("kept-heard").blocking()
        kept.add_entry_listener(added_func=heard.append)
        client.switch_to("green")
        for name in ("structure-heard", "kept-heard"):
            other.get_map(name).blocking().put((name, flavour, time.monotonic()), 1)
        eventually(lambda: heard)
        assert {event.key[0] for event in heard} == {"kept-heard"}
        other.get_map("kept-heard").blocking().destroy()


@pytest.mark.parametrize("double", [copy.copy, pickle.dumps], ids=["copied", "pickled"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_proxies_cannot_be_copied_or_pickled(double: Callable[[Any], Any], flavour: str) -> None:
    with pytest.raises(TypeError, match=r'Map\(name="kept"\) cannot be copied or pickled'):
        double(FLAVOURS[flavour](nowhere().get_map("kept")))


def test_private_attributes_are_those_of_the_real_proxy(client: Any) -> None:
    counter = client.get_pn_counter("private").blocking()
    counter.add_and_get(1)
    assert counter._wrapped._current_target_replica_address is not None
    assert client._connection_manager.active_connections


def test_callback_that_would_wait_raises(client: Any) -> None:
    numbers = client.get_map("waiting")
    errors: list[BaseException] = []

    def wait_in_callback(_: Future[Any]) -> None:
        try:
            numbers.blocking().get("x")
        except BaseException as error:
            errors.append(error)

    numbers.get("x").add_done_callback(wait_in_callback)
    # The callback may run on this thread, when the answer came before it was added.
    eventually(lambda: errors or numbers.blocking().get("x") is None)
    assert all(isinstance(error, RuntimeError) for error in errors)
