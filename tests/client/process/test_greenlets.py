"""An exception that gevent throws into a greenlet, wherever that waits, harms no other greenlet."""

import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.client.process.conftest import clusters_of
from tests.support.scripts import run

GEVENT = "from gevent import monkey; monkey.patch_all()\n"

# A program goes on with `act`, which is interrupted at each of its yields, and `check`, which is called afterwards.
BEGINNING = """
import gevent
from tests.support.yield_points import answers, interrupted
clusters = json.loads(sys.argv[1])
users = client.get_map("interrupted").blocking()
for label in "green", "blue":
    client.switch_to(label)
    users.set("key", 1)
check = lambda: None
is_counted = lambda: True

def other():
    return "green" if client.status().current_cluster == "blue" else "blue"

"""
END = """

points = 0
for points, point in enumerate(interrupted(act, lambda: is_counted()), 1):
    print(point)
    check()
    client.switch_to(other())
    answers(lambda: users.get("key"))
    script.soon(lambda: script.is_at_rest(client))
assert points, "was never interrupted"
client.shutdown()
print(points, "points")
"""

OPERATIONS = {
    "get": """
def act():
    users.get("key")
""",
    "put": """
def act():
    users.put("key", 2)
""",
    "future": """
def act():
    client.get_map("interrupted").put("key", 3).result()
""",
    "get during a switch": """
def act():
    gevent.spawn(client.switch_to, other())
    users.get("key")
    users.get("key")
""",
    "switch": """
def act():
    client.switch_to(other())
""",
    "section": """
def act():
    with client.same_cluster():
        users.put("key", users.get("key"))
""",
    "listener": """
def act():
    users.remove_entry_listener(users.add_entry_listener(added_func=print))
""",
    "new structure": """
names = iter(range(10**6))

def act():
    fresh = client.get_map(f"interrupted-{next(names)}").blocking()
    fresh.set("key", 1)
    fresh.destroy()

def check():
    answers(lambda: client.get_map(f"interrupted-{next(names) - 1}").blocking().set("key", 1))
""",
}


def interrupt(operation: str, *clusters: LocalCluster, within: float = 40.0) -> int:
    """Interrupt an operation at each of its yields; how many there were, each counted for three kinds of exception."""
    said = run(BEGINNING + operation + END, clusters_of(*clusters), within=within, before=GEVENT)
    return int(said.splitlines()[-1].split()[0])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_interrupted_operation_leaves_nothing_behind(
    blue: LocalCluster, green: LocalCluster, operation: str
) -> None:
    """A later switch and the operations of other greenlets succeed, and nothing remains in flight."""
    assert interrupt(OPERATIONS[operation], blue, green) >= 3


@pytest.mark.parametrize(
    "first_use",
    [
        'fresh.get_map("interrupted").blocking().get("key")',
        'fresh.get_map("interrupted").get("key").result()',
        "fresh.start()",
    ],
    ids=["get", "future", "start"],
)
def test_an_interrupted_first_use_connects_for_others(
    blue: LocalCluster, green: LocalCluster, first_use: str
) -> None:
    """The client is as good as new for the next greenlet that uses it."""
    operation = f"""
def act():
    global fresh
    fresh = script.make_client(clusters, {{}})
    {first_use}

def check():
    answers(lambda: fresh.get_map("interrupted").blocking().get("key"))
    answers(lambda: fresh.switch_to("green"))
    answers(lambda: fresh.get_map("interrupted").blocking().get("key"))
    script.soon(lambda: script.is_at_rest(fresh))
    fresh.shutdown()
"""
    assert interrupt(operation, blue, green) >= 6


def test_an_interrupted_start_that_fails_can_be_repeated(blue: LocalCluster, green: LocalCluster) -> None:
    """Also where the interruption comes while the failed start is being cleaned up."""
    operation = """
from tests.support.relay import Relay
relay = Relay(clusters["blue"][0])
relay.refuse()

def act():
    global fresh
    options = {"try_count": 1, "client_options": {"smart_routing": False}}
    fresh = script.make_client({"blue": [relay.address]}, options)
    try:
        fresh.start()
    except Exception as error:
        assert type(error).__name__ == "ClientOfflineException", error

def succeeds():
    try:
        return fresh.get_map("interrupted").blocking().get("key")
    except Exception:
        return None

def check():
    relay.resume()
    script.soon(succeeds)
    fresh.shutdown()
    relay.refuse()
"""
    assert interrupt(operation, blue, green) >= 12


def test_an_interrupted_shutdown_can_be_repeated(blue: LocalCluster, green: LocalCluster) -> None:
    operation = """
def act():
    global fresh
    fresh = script.make_client(clusters, {})
    fresh.get_map("interrupted").blocking().get("key")
    fresh.shutdown()

def check():
    answers(fresh.shutdown)
    try:
        fresh.get_map("interrupted").blocking().get("key")
    except Exception as error:
        assert type(error).__name__ == "ClientShutDown", error
"""
    assert interrupt(operation, blue, green) >= 12


def test_an_interrupted_lock_section_releases_its_lock(blue: LocalCluster, green: LocalCluster) -> None:
    operation = """
is_locked = False
is_counted = lambda: is_locked

def act():
    global is_locked
    users.lock("locked")
    try:
        is_locked = True
        users.put("locked", 1)
    finally:
        is_locked = False
        users.unlock("locked")

def check():
    assert not users.is_locked("locked")
"""
    assert interrupt(operation, blue, green) >= 3


def test_an_interrupted_transaction_leaves_no_lock(blue: LocalCluster, green: LocalCluster) -> None:
    """A rollback that overtakes the request before it would leave the entry locked until the transaction's time-out."""
    operation = """
keys = iter(range(10**6))

def act():
    with client.new_transaction() as transaction:
        for _ in range(4):
            transaction.get_map("interrupted").put(f"key {next(keys)}", 1)

def check():
    for key in range(next(keys)):
        assert not users.is_locked(f"key {key}"), key
"""
    assert interrupt(operation, blue, green) >= 12


def test_an_operation_interrupted_during_a_loss(blue: LocalCluster, green: LocalCluster) -> None:
    """Whether it fails, waits for the other cluster, or runs there again."""
    operation = """
from tests.support.relay import Relay
relay = Relay(clusters["blue"][0])
options = {"try_count": 1, "client_options": {"smart_routing": False}}
fresh = script.make_client({"blue": [relay.address], "green": clusters["green"]}, options)
others = fresh.get_map("interrupted").blocking()
others.get("key")

def act():
    gevent.spawn(relay.refuse)
    while fresh.status().current_cluster != "green":
        others.get("key")

def check():
    script.soon(lambda: fresh.status().current_cluster == "green")
    answers(lambda: others.get("key"))
    relay.resume()
    script.soon(lambda: fresh.status().clusters[0].state == "standby")
    fresh.reset()
    answers(lambda: others.get("key"))
    script.soon(lambda: script.is_at_rest(fresh))
"""
    assert interrupt(operation, blue, green, within=60) >= 3


def test_time_limits_of_greenlets(blue: LocalCluster, green: LocalCluster) -> None:
    """Each gets its own timeout or its answer while the client switches back and forth."""
    run(
        """
        import gevent, random
        users = client.get_map("time-limits").blocking()
        for label in "green", "blue":
            client.switch_to(label)
            users.set("key", 1)
        chance, ends = random.Random(7), time.monotonic() + 4
        counts = {"answered": 0, "interrupted": 0}

        def use(number):
            while time.monotonic() < ends:
                with gevent.Timeout(chance.uniform(0.0, 0.1), False):
                    counts["interrupted"] += 1
                    users.set("key", 1)
                    assert users.get("key") == 1
                    counts["answered"] += 1
                    counts["interrupted"] -= 1
                gevent.sleep(0)

        greenlets = [gevent.spawn(use, number) for number in range(20)]
        while time.monotonic() < ends:
            for label in "green", "blue":
                client.switch_to(label)
                gevent.sleep(0.05)
        gevent.joinall(greenlets, timeout=10, raise_error=True)
        assert all(greenlet.successful() for greenlet in greenlets)
        assert all(counts.values()), counts
        script.soon(lambda: script.is_at_rest(client))
        began = time.monotonic()
        users.get("key")
        assert time.monotonic() - began < 1
        client.shutdown()
        print(counts)
        """,
        clusters_of(blue, green),
        within=40,
        before=GEVENT,
    )
