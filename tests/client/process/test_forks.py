"""Forks, worker processes and greenlets: each process has its own connections and does not disturb others."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.client.process.conftest import clusters_of
from tests.support import script_client
from tests.support.fair_time import fair_time
from tests.support.modules import stub
from tests.support.relay import Relay
from tests.support.scripts import run, running
from tests.support.serving import serve
from tests.support.waiting import eventually

GEVENT = "from gevent import monkey; monkey.patch_all()\n"


def test_a_fork_before_the_first_use(blue: LocalCluster) -> None:
    run(
        """
        users = client.get_map("forked-before").blocking()
        script.in_child(lambda: users.set("child", 1))
        assert users.get("child") == 1
        assert client.status().epoch == 1
        """,
        clusters_of(blue),
    )


@pytest.mark.parametrize("before", ["", GEVENT], ids=["threads", "gevent"])
def test_a_fork_after_the_first_use(blue: LocalCluster, green: LocalCluster, before: str) -> None:
    run(
        """
        users = client.get_map("forked-after").blocking()
        users.set("parent", 1)
        script.soon(lambda: client.status().clusters[1].state == "standby")
        mine, worker = script.sockets(), client.status().worker

        def use():
            script.soon(lambda: not script.sockets())  # gevent closes when its loop runs
            assert client.status().state == "idle" and client.status().worker != worker
            assert users.get("parent") == 1
            users.set("child", os.getpid())
            assert client.status().epoch == 1 and not script.sockets() & mine
            client.switch_to("green")
            client.shutdown()

        for _ in range(3):
            script.in_child(use)
            assert users.get("child")
        assert script.sockets() == mine and client.status().epoch == 1
        assert client.status().worker == worker
        """,
        clusters_of(blue, green),
        before=before,
    )


def test_listeners_work_on_both_sides_of_a_fork(blue: LocalCluster) -> None:
    run(
        """
        received = []
        users = client.get_map("forked-listeners").blocking()
        users.add_entry_listener(include_value=True, added_func=lambda event: received.append(event.key))

        def use():
            users.size()
            users.set(f"child {os.getpid()}", 1)
            script.soon(lambda: f"child {os.getpid()}" in received)

        pid = script.child(use)
        script.ends_well(pid)
        script.soon(lambda: f"child {pid}" in received)
        users.set("parent", 1)
        script.soon(lambda: "parent" in received)
        assert client.status().epoch == 1
        users.destroy()
        """,
        clusters_of(blue),
    )


def test_a_child_closes_its_copies_of_connections(blue: LocalCluster) -> None:
    """Otherwise they would stay open after the parent has closed them."""
    with Relay(blue.addresses[0]) as relay:
        text = """
            users = client.get_map("forked-open").blocking()
            users.size()
            reading, writing = os.pipe()
            pid = script.child(lambda: os.read(reading, 1))
            users.size()
            print("forked")
            sys.stdin.readline()
            client.shutdown()
            print("shut down")
            sys.stdin.readline()
            os.write(writing, b"!")
            script.ends_well(pid)
            """
        options: Any = {"client_options": {"smart_routing": False}}
        with running(text, {"blue": [relay.address]}, **options) as script:
            script.expect("forked")
            assert relay.link_count == 1
            script.say()
            script.expect("shut down")
            eventually(lambda: relay.link_count == 0, within=2)
            script.say()
            script.ends(5)


def test_a_child_that_ends_closes_no_parents_connection(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as relay:
        text = """
            events = []
            client.subscribe(events.append)
            users = client.get_map("forked-ends").blocking()
            users.size()
            ports = script.sockets()
            for end in (lambda: None, users.size, client.shutdown):
                script.in_child(end)
            pid = os.fork()
            if not pid:
                sys.exit()  # as gunicorn's workers end
            script.ends_well(pid)
            users.size()
            assert script.sockets() == ports
            script.soon(lambda: events)
            assert [type(event).__name__ for event in events] == ["ClusterConnected"]
            """
        run(text, {"blue": [relay.address]}, client_options={"smart_routing": False})


def test_forks_during_operations_and_switches(blue: LocalCluster, green: LocalCluster) -> None:
    run(
        """
        stop, errors = threading.Event(), []
        users = client.get_map("forked-busy").blocking()
        users.set("key", 1)
        client.switch_to("green")
        users.set("key", 1)
        labels = ["blue", "green"]

        def switch():
            labels.reverse()
            client.switch_to(labels[0])

        threads = [script.repeatedly(lambda: users.get("key"), stop, errors) for _ in range(8)]
        threads.append(script.repeatedly(switch, stop, errors))

        def use():
            assert users.get("key") == 1
            client.switch_to("green")
            assert users.get("key") == 1

        for _ in range(15):
            script.in_child(use)
        stop.set()
        for thread in threads:
            thread.join(5)
        assert not errors, errors
        users.destroy()
        """,
        clusters_of(blue, green),
        within=40,
    )


def test_forks_while_connecting_leave_no_socket_in_the_child(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as silent:
        silent.freeze()
        run(
            """
            client.control.connect_soon()
            script.soon(script.sockets)

            def look():
                assert not script.sockets()

            script.in_child(look)
            """,
            {"blue": [silent.address]},
        )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(blue: LocalCluster, method: str) -> None:
    text = f"""
        import multiprocessing
        users = client.get_map("multiprocessing-{method}").blocking()
        users.set("parent", 1)
        context = multiprocessing.get_context("{method}")
        import tests.support.script_client as script
        if "{method}" == "fork":
            script.users = users
        process = context.Process(target=script.use_in_process, args=(json.loads(sys.argv[1]), users.name))
        process.start()
        process.join(30)
        assert process.exitcode == 0, process.exitcode
        assert users.get("child") == 2 and client.status().epoch == 1
        """
    run(text, clusters_of(blue), within=40.0)


def test_a_client_cannot_be_pickled() -> None:
    config = FailoverConfig()
    config.add_cluster("blue", ["127.0.0.1:1"])
    client = HazelcastClient(config)
    with pytest.raises(TypeError, match="make one in each process"):
        multiprocessing.reduction.ForkingPickler.dumps(client)


def test_200_greenlets_survive_the_loss_of_their_cluster(blue: LocalCluster, green: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as relay:
        text = """
            import gevent
            users = client.get_map("greenlets").blocking()
            users.set("key", "blue")
            client.switch_to("green"); users.set("key", "green"); client.reset()
            seen = set()

            def read(number):
                while "green" not in seen:
                    seen.add(users.get("key"))
                    gevent.sleep(0)
                return users.get("key")

            readers = [gevent.spawn(read, number) for number in range(200)]
            script.soon(lambda: seen)
            print("reading")
            gevent.joinall(readers, timeout=15, raise_error=True)
            assert all(reader.value == "green" for reader in readers)
            assert seen == {"blue", "green"}
            client.shutdown()
            """
        options = {"client_options": {"smart_routing": False}, "try_count": 1}
        with running(text, {"blue": [relay.address], "green": green.addresses}, GEVENT, **options) as script:
            script.expect("reading")
            relay.refuse()
            script.ends(20)


def test_a_shutdown_after_a_late_gevent_patch(blue: LocalCluster) -> None:
    """Gunicorn patches in the worker, long after a preloaded app was imported."""
    run(
        """
        from gevent import monkey; monkey.patch_all()
        events = []
        client.subscribe(events.append)
        client.get_map("patched-late").blocking().size()
        script.soon(lambda: events)
        began = time.monotonic()
        client.shutdown()
        assert time.monotonic() - began < 0.7, time.monotonic() - began
        """,
        clusters_of(blue),
    )


@pytest.mark.timing
@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_workers_of_a_preloaded_app_survive_their_cluster(
    pair: tuple[LocalCluster, LocalCluster], worker_class: str
) -> None:
    def answers() -> dict[int, dict[str, Any]]:
        with ThreadPoolExecutor(8) as requests:
            return {answer["pid"]: answer for _, answer in requests.map(server.get, ["/read"] * 16)}

    def all_switched() -> bool:
        switched.update({pid: answer for pid, answer in answers().items() if answer["on"] == "green"})
        return len(switched) == 2

    app, switched = "tests.support.preloaded_app:app", dict[int, dict[str, Any]]()
    with serve(*pair, workers=2, worker_class=worker_class, app=app, arguments=("--preload",)) as server:
        before = answers()
        assert {answer["value"] for answer in before.values()} == {server.process.pid}
        assert {(answer["on"], answer["epoch"]) for answer in before.values()} == {("blue", 1)}
        pair[0].kill()
        eventually(all_switched, within=10)
        assert {answer["epoch"] for answer in switched.values()} == {2}
        assert server.process.pid not in switched
        began = fair_time()
        server.stop()
        # The workers exit, then the master: each takes 2 s at most, plus the exit of its interpreter.
        assert fair_time() - began < 6 and server.process.returncode == 0


# Unsupported environments.


def make_client() -> HazelcastClient:
    return script_client.make_client({"blue": ["127.0.0.1:1"]}, {})


def test_eventlet_is_rejected_whenever_it_was_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    made_before = make_client()
    stub(monkeypatch, "eventlet.patcher", is_monkey_patched=lambda module: module == "thread")
    for attempt in (make_client, made_before.start, made_before.get_map("any").blocking().size):
        with pytest.raises(RuntimeError, match=r"eventlet.*gevent.*gthread"):
            attempt()


def test_eventlet_without_patches_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, "eventlet.patcher", is_monkey_patched=lambda module: False)
    make_client()


def test_uwsgi_without_threads_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    made_before = make_client()
    stub(monkeypatch, "uwsgi", opt={"master": True, "processes": b"4"})
    for attempt in (make_client, made_before.start):
        with pytest.raises(RuntimeError, match="--enable-threads"):
            attempt()


@pytest.mark.parametrize("option", [{"enable-threads": True}, {"threads": b"2"}])
def test_uwsgi_with_threads_is_accepted(monkeypatch: pytest.MonkeyPatch, option: dict[str, object]) -> None:
    stub(monkeypatch, "uwsgi", opt={"master": True} | option)
    make_client()


def test_forks_of_uwsgi(blue: LocalCluster) -> None:
    """Python's own hooks do not see them."""
    said = run(
        """
        from flask_hazelcast_failover._threads import forks
        users = client.get_map("uwsgi").blocking()
        users.size()
        mine, worker = script.sockets(), client.status().worker
        uwsgi.post_fork_hook()  # as after a fork that Python has seen
        assert script.sockets() == mine and client.status().worker == worker
        forks._process = 0  # as after one that it has not
        uwsgi.post_fork_hook()
        assert not script.sockets() and client.status().state == "idle"
        users.size()
        assert not script.sockets() & mine and client.status().worker != worker
        """,
        clusters_of(blue),
        before="""
        import sys, types
        uwsgi = sys.modules["uwsgi"] = types.ModuleType("uwsgi")
        uwsgi.opt = {"enable-threads": True}
        uwsgi.post_fork_hook = lambda: print("the hook that was there")
        """,
    )
    assert said.count("the hook that was there") == 2
