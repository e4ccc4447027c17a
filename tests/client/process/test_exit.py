"""The interpreter exits in time, whatever the clusters and the program are doing."""

import signal

import pytest

from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.client.process.conftest import clusters_of
from tests.support.fair_time import fair_time
from tests.support.relay import Relay
from tests.support.scripts import running
from tests.support.serving import serve

# What an exit may take on a busy machine, seconds: the interpreter, and 2 s for the client.
EXIT_TIMEOUT = 3.0


@pytest.mark.parametrize("busy", ["", "queue.take", "users.get"])
def test_a_process_exits_while_all_clusters_are_frozen(
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
            script.soon(lambda: client._runtime.route.link.calls)
        print("exit")
        """
    with running(text, clusters_of(*pair)) as script:
        script.expect("connected")
        for cluster in pair:
            cluster.freeze()
        script.say()
        script.expect("exit")
        assert script.ends(10) < EXIT_TIMEOUT
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
        assert script.ends(10) < EXIT_TIMEOUT
        assert "Traceback" not in script.said, script.said


def test_a_process_exits_during_a_switch(blue: LocalCluster, green: LocalCluster) -> None:
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
            assert script.ends(10) < EXIT_TIMEOUT


def test_a_process_exits_while_no_cluster_is_reachable() -> None:
    text = """
        try:
            client.get_map("exit").blocking().size()
        except Exception as error:
            sys.stdout.write(type(error).__name__ + "\\n")  # in one write, since the log writes too
        assert client.status().state == "offline"
        """
    with running(text, {"blue": [f"127.0.0.1:{free_port()}"]}, try_count=1) as script:
        script.expect("ClientOfflineException")
        assert script.ends(10) < EXIT_TIMEOUT
        assert "Traceback" not in script.said, script.said


def test_non_daemon_threads_can_use_the_client_at_exit(blue: LocalCluster) -> None:
    """The interpreter waits for them."""
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


def test_sys_exit_in_a_listener(blue: LocalCluster) -> None:
    """It ends neither the process nor other listeners, in subscribers to events as well."""
    text = """
        received = []
        client.subscribe(sys.exit)
        client.subscribe(lambda event: received.append(event))
        users = client.get_map("exit-listener").blocking()
        users.add_entry_listener(include_value=True, added_func=sys.exit)
        users.add_entry_listener(include_value=True, added_func=lambda event: received.append(event.key))
        users.set("first", 1)
        users.set("second", 1)
        script.soon(lambda: len(received) == 3)
        users.destroy()
        print("done")
        """
    with running(text, clusters_of(blue)) as script:
        script.expect("done")
        script.ends(10)


@pytest.mark.timing
def test_gunicorn_ends_while_all_clusters_are_frozen(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    with serve(*pair, workers=2, worker_class="gthread", arguments=("--graceful-timeout", "1")) as server:
        for cluster in pair:
            cluster.freeze()
        began = fair_time()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert fair_time() - began < 5
