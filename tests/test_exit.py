"""Ends: of the interpreter, of a client, of a start. None hangs, whatever the clusters do, and none leaves anything."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hazelcast.errors import HazelcastClientNotActiveError

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.events import Event
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.clients import client_on
from tests.support.relay import Relay
from tests.support.scripts import running
from tests.support.serving import serve
from tests.support.waiting import eventually

# What an exit may take on a busy machine: the interpreter itself, and 2 s for the client.
EXIT = 3.0


def clusters_of(*clusters: LocalCluster) -> dict[str, list[str]]:
    return {cluster.name: cluster.addresses for cluster in clusters}


def client_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("hazelcast")]


def absent_client(**options: object) -> HazelcastClient:
    config = FailoverConfig(try_count=1)
    config.add_cluster("blue", [f"127.0.0.1:{free_port()}"])
    return HazelcastClient(config, **options)


@contextmanager
def socket_that_is_silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


# Exit of the interpreter.


@pytest.mark.parametrize("busy", ["", "queue.take", "users.get"])
def test_a_process_exits_though_every_cluster_is_frozen(
    pair: tuple[LocalCluster, LocalCluster], busy: str
) -> None:
    text = f"""
        users = client.get_map("exit").blocking()
        queue = client.get_queue("exit").blocking()
        users.set("key", 1)
        queue.size()
        script.soon(lambda: client.status().clusters[1].state == "standby")
        calls = {{"queue.take": queue.take, "users.get": lambda: users.get("key")}}
        print("connected")
        sys.stdin.readline()
        if "{busy}":
            threading.Thread(target=calls["{busy}"], daemon=True).start()
            script.soon(lambda: client._route.link.calls)
        print("exit")
        """
    with running(text, clusters_of(*pair)) as script:
        script.expect("connected")
        for cluster in pair:
            cluster.freeze()
        script.say()
        script.expect("exit")
        assert script.ends(10) < EXIT
        assert "Traceback" not in script.said, script.said


@pytest.mark.parametrize("last_line", ["users.get(1)", "sys.exit()", "os.kill(os.getpid(), 15)"])
def test_a_process_exits_right_after_its_first_use(blue: LocalCluster, last_line: str) -> None:
    text = f"""
        import signal
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        users = client.get_map("exit").blocking()
        users.get(1)
        print("used")
        {last_line}
        """
    with running(text, clusters_of(blue)) as script:
        script.expect("used")
        assert script.ends(10) < EXIT
        assert "Traceback" not in script.said, script.said


def test_a_process_exits_in_the_middle_of_a_switch(blue: LocalCluster, green: LocalCluster) -> None:
    text = """
        users = client.get_map("exit").blocking()
        users.get(1)
        waiting = threading.Thread(target=lambda: users.get(1), daemon=True)
        print("connected")
        sys.stdin.readline()
        script.soon(lambda: client.status().state == "switching")
        waiting.start()
        threading.Thread(target=client.switch_to, args=("green",), daemon=True).start()
        time.sleep(0.1)
        print("exit")
        """
    with Relay(blue.addresses[0]) as first, Relay(green.addresses[0]) as second:
        clusters = {"blue": [first.address], "green": [second.address]}
        with running(text, clusters, standby="cold", client_options={"smart_routing": False}) as script:
            script.expect("connected")
            second.freeze()
            first.cut()
            first.freeze()
            script.say()
            script.expect("exit")
            assert script.ends(10) < EXIT


def test_a_process_exits_while_nothing_can_be_reached() -> None:
    text = """
        try:
            client.get_map("exit").blocking().size()
        except Exception as error:
            sys.stdout.write(type(error).__name__ + "\\n")  # in one piece: the log writes as well
        assert client.status().state == "offline"
        """
    with running(text, {"blue": [f"127.0.0.1:{free_port()}"]}, try_count=1) as script:
        script.expect("ClientOfflineException")
        assert script.ends(10) < EXIT
        assert "Traceback" not in script.said, script.said


def test_threads_that_the_interpreter_waits_for_can_use_the_client_to_the_end(blue: LocalCluster) -> None:
    text = """
        users = client.get_map("exit-threads").blocking()

        def work():
            threading.main_thread().join()
            for number in range(100):
                users.set("key", number)
            assert users.get("key") == 99
            print("done")

        threading.Thread(target=work).start()
        """
    with running(text, clusters_of(blue)) as script:
        script.expect("done")
        script.ends(10)
        assert "Traceback" not in script.said, script.said


def test_sys_exit_in_a_listener_or_receiver_ends_neither_process_nor_others(blue: LocalCluster) -> None:
    text = """
        heard = []
        client.subscribe(sys.exit)
        client.subscribe(lambda event: heard.append(event))
        users = client.get_map("exit-listener").blocking()
        users.add_entry_listener(include_value=True, added_func=sys.exit)
        users.add_entry_listener(include_value=True, added_func=lambda event: heard.append(event.key))
        users.set("first", 1)
        users.set("second", 1)
        script.soon(lambda: len(heard) == 3)
        users.destroy()
        print("done")
        """
    with running(text, clusters_of(blue)) as script:
        script.expect("done")
        script.ends(10)


def test_gunicorn_ends_in_time_though_every_cluster_is_frozen(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    with serve(*pair, workers=2, worker_class="gthread", arguments=("--graceful-timeout", "1")) as server:
        for cluster in pair:
            cluster.freeze()
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 5


# The end of a client.


def test_a_client_is_shut_down_once_and_for_all(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        users: Any = client.get_map("shutdown").blocking()
        users.size()
        states: list[str] = []
        client.lifecycle_service.add_listener(states.append)
        client.shutdown()
        client.shutdown()
        assert states == ["SHUTTING_DOWN", "DISCONNECTED", "SHUTDOWN"]
        assert not client.lifecycle_service.is_running()
        uses: list[Callable[[], object]] = [
            users.size,
            lambda: client.get_map("shutdown").size().result(),
            lambda: client.get_map("asked for later"),
            lambda: client.cp_subsystem.get_lock("asked for later"),
            client.start,
            client.reset,
            lambda: client.switch_to("green"),
            lambda: users.add_entry_listener(added_func=print),
            lambda: client.same_cluster().__enter__(),
        ]
        for use in uses:
            with pytest.raises(HazelcastClientNotActiveError, match="shut down"):
                use()
        status = client.status()
        assert (status.state, status.current_cluster, status.current_index) == ("closed", None, None)
    assert client_threads() == []


def test_everybody_who_shuts_down_at_the_same_time_returns_when_it_is_done(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        left: list[list[str]] = []

        def shut_down() -> None:
            client.shutdown()
            left.append([name for name in client_threads() if name == "hazelcast-reactor"])

        threads = [threading.Thread(target=shut_down) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert left == [[]] * 8


def test_what_waits_when_the_client_is_shut_down_ends_at_once(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        queue: Any = client.get_queue("shutdown")
        queue.clear().result()
        errors: list[BaseException] = []

        def take() -> None:
            try:
                queue.blocking().take()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=take)
        thread.start()
        future = queue.take()
        link = client._route.link
        assert link is not None
        eventually(lambda: len(link.calls) == 2)
        client.shutdown()
        thread.join(5)
        assert not thread.is_alive() and len(errors) == 1
        with pytest.raises(type(errors[0])):
            future.result()


def test_a_switch_that_is_asked_for_at_the_very_end_is_answered(
    blue: LocalCluster, green: LocalCluster
) -> None:
    with client_on(blue, green) as client:
        client._engine.stop(5)  # what shutdown() in another thread does after switch_to() looked
        with pytest.raises(HazelcastClientNotActiveError):
            client.switch_to("green")


def test_nothing_opens_a_client_again_that_was_shut_down(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        users: Any = client.get_map("shutdown").blocking()
        users.size()
        link = client._route.link
        assert link is not None
        client.shutdown()
        client._route.publish(link)  # what a keeper does that has just found a cluster
        with pytest.raises(HazelcastClientNotActiveError):
            users.size()


def by_listener(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    users: Any = client.get_map("shutdown-by-listener").blocking()
    users.add_entry_listener(added_func=shut_down)
    users.delete("key")
    users.put_transient("key", 1, 60)


def by_subscriber(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    client.subscribe(shut_down)
    client.switch_to("green")


def by_lifecycle_listener(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    client.lifecycle_service.add_listener(shut_down)
    client.switch_to("green")
    threading.Thread(target=client.shutdown).start()


def by_callback(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    client.get_map("shutdown-by-callback").size().add_done_callback(shut_down)


@pytest.mark.parametrize("way", [by_listener, by_subscriber, by_lifecycle_listener, by_callback])
def test_a_client_can_be_shut_down_from_its_own_threads(
    blue: LocalCluster, green: LocalCluster, way: Callable[..., None]
) -> None:
    took: list[float] = []

    def shut_down(*_: object) -> None:
        began = time.monotonic()
        client.shutdown()
        took.append(time.monotonic() - began)

    with client_on(blue, green) as client:
        way(client, shut_down)
        eventually(lambda: took)
        assert took[0] < 2
        assert client.status().state == "closed"
        eventually(lambda: client_threads() == [])


def test_shutting_down_does_not_wait_for_a_listener_that_never_returns(blue: LocalCluster) -> None:
    let_go = threading.Event()
    with client_on(blue) as client:
        users: Any = client.get_map("shutdown-listener").blocking()
        called = threading.Event()

        def block(_: object) -> None:
            called.set()
            let_go.wait(30)

        users.add_entry_listener(added_func=block)
        users.delete("key")
        users.set("key", 1)
        assert called.wait(5)
        began = time.monotonic()
        client.shutdown()
        assert time.monotonic() - began < 2.5
        let_go.set()
        eventually(lambda: client_threads() == [])


# The end of a start.


def test_a_start_that_fails_leaves_no_thread_and_can_be_made_again(
    start_cluster: Callable[..., LocalCluster],
) -> None:
    blue = start_cluster("blue")
    config = FailoverConfig(try_count=2)
    config.add_cluster("blue", blue.addresses)
    config.add_cluster("green", [f"127.0.0.1:{free_port()}"])
    blue.kill()
    client = HazelcastClient(config, retry_delay=0.01)
    heard: list[object] = []
    client.subscribe(heard.append)
    client.lifecycle_service.add_listener(heard.append)
    for _ in range(2):
        with pytest.raises(ClientOfflineException, match=r"blue.*refused.*green.*refused"):
            client.start()
        assert client_threads() == [] and heard
        assert client.status().state == "idle"
    blue.restart()
    worker = client.status().worker
    with client.start():
        assert client.status().current_cluster == "blue" and client.status().worker == worker
        assert client.get_map("start").blocking().size() == 0
    assert client_threads() == []


def test_a_start_that_fails_at_a_silent_peer_leaves_no_thread(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as silent:
        silent.freeze()
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [silent.address])
        client = HazelcastClient(config, connect_timeout=0.3)
        with pytest.raises(ClientOfflineException, match="timed out"):
            client.start()
        eventually(lambda: client_threads() == [], within=1)


def test_whoever_waits_for_a_start_that_fails_fails_with_it() -> None:
    with socket_that_is_silent() as address:
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [address])
        client = HazelcastClient(config, connect_timeout=0.5)
        failed: list[float] = []

        def use() -> None:
            began = time.monotonic()
            with pytest.raises(ClientOfflineException):
                client.get_map("any").blocking().size()
            failed.append(time.monotonic() - began)

        def start() -> None:
            with pytest.raises(ClientOfflineException):
                client.start()

        starting = threading.Thread(target=start)
        starting.start()
        eventually(lambda: client.status().state == "switching")
        users = [threading.Thread(target=use) for _ in range(4)]
        for thread in users:
            thread.start()
        for thread in (starting, *users):
            thread.join(5)
        assert len(failed) == 4 and max(failed) < 2
        client.shutdown()


def test_a_first_use_that_fails_leaves_the_client_trying(start_cluster: Callable[..., LocalCluster]) -> None:
    blue = start_cluster("blue")
    blue.kill()
    config = FailoverConfig(try_count=1)
    config.add_cluster("blue", blue.addresses)
    client = HazelcastClient(config)
    users: Any = client.get_map("first-use").blocking()
    with pytest.raises(ClientOfflineException, match="refused"):
        users.size()
    assert client.status().state == "offline"
    with pytest.raises(ClientOfflineException):  # a start that finds it trying takes nothing away
        client.start()
    assert client.status().state == "offline"
    blue.restart()
    eventually(lambda: client.status().state == "connected")
    assert users.size() == 0
    client.shutdown()


def test_a_client_that_was_never_used_is_shut_down_without_a_connection() -> None:
    events: list[Event] = []
    client = absent_client()
    client.subscribe(events.append)
    client.shutdown()
    with pytest.raises(HazelcastClientNotActiveError):
        client.start()
    assert client.status().state == "closed" and not events
    assert client_threads() == []
