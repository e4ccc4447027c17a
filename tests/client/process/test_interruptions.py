"""An exception that arrives anywhere in a user's thread, as time limits and signals raise it, harms no other thread."""

from __future__ import annotations

import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.client.process.conftest import clusters_of
from tests.support.scripts import run, running

# Programs begin with this. `interrupted(act, error, is_point)` runs `act` on a thread again and again, and raises `error`
# there at the first, second, ... point; it gives the number of each, and ends with the first run without one.
BEGINNING = """
import itertools
from tests.support.interruptions import *
clusters = json.loads(sys.argv[1])
users = client.get_map("interrupted").blocking()
for label in "green", "blue":
    client.switch_to(label)
    users.set("key", 1)

def other(of=None):
    return "green" if (of or client).status().current_cluster == "blue" else "blue"

fresh = client
def renew():
    global fresh
    fresh = script.make_client(clusters, {})
"""
CHECK = """
points = 0
for error in TimeLimit, SoftTimeLimit:
    for is_point in POINTS:
        for point in interrupted(act, error, is_point):
            points += 1
            answers(lambda: fresh.get_map("interrupted").blocking().get("key"))
            answers(lambda: fresh.switch_to(other(fresh)))
            answers(lambda: fresh.get_map("interrupted").blocking().get("key"))
            script.soon(lambda: fresh.status().state.value == "connected")
            script.soon(lambda: script.is_at_rest(fresh))
            if fresh is not client:
                fresh.shutdown()
client.shutdown()
print(points, "points")
"""

OPERATIONS = {
    "get": """
def act():
    users.get("key")
""",
    "first use": """
def act():
    renew()
    fresh.get_map("interrupted").blocking().get("key")
""",
    "start": """
def act():
    renew()
    fresh.start()
""",
    "future": """
def act():
    client.get_map("interrupted").get("key").result()
""",
    "listener": """
def act():
    users.remove_entry_listener(users.add_entry_listener(added_func=print))
""",
    "new structure": """
names = itertools.count()
def act():
    client.get_map(f"interrupted-{next(names)}").blocking().set("key", 1)
""",
    "switch": """
def act():
    client.switch_to(other())
""",
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exception_as_a_lock_is_taken(blue: LocalCluster, green: LocalCluster, operation: str) -> None:
    """Other threads get answers, switches succeed, and nothing remains in flight."""
    run(BEGINNING + OPERATIONS[operation] + CHECK, clusters_of(blue, green), within=120)


def test_an_interrupted_lock_section_holds_nothing(blue: LocalCluster, green: LocalCluster) -> None:
    """An ``unlock`` that was interrupted in its wait and succeeded holds up no later switch."""
    program = """
def act():
    users.lock("locked")
    mark()
    users.unlock("locked")

for point in interrupted(act, TimeLimit, of_waits, after_mark=True):
    script.soon(lambda: not users.is_locked("locked"))
    script.soon(lambda: script.is_at_rest(client))
    print("interrupted", point)
client.shutdown()
"""
    assert "interrupted" in run(BEGINNING + program, clusters_of(blue, green), within=40)


def test_an_interrupted_lock_is_known_to_its_thread(blue: LocalCluster, green: LocalCluster) -> None:
    """A ``lock`` that was granted to an interrupted caller is counted until its thread releases it."""
    program = """
def act():
    try:
        users.lock("locked")
    except TimeLimit:
        sys.settrace(None)
        script.soon(lambda: any(link.locks for link in client._runtime.engine.links.all()))
        users.unlock("locked")
        raise
    users.unlock("locked")

for point in itertools.islice(interrupted(act, TimeLimit, of_waits), 1):
    assert not users.is_locked("locked")
    assert script.is_at_rest(client)
    print("interrupted", point)
client.shutdown()
"""
    assert "interrupted" in run(BEGINNING + program, clusters_of(blue, green), within=40)


def test_an_exception_in_a_callback_of_ours(blue: LocalCluster, green: LocalCluster) -> None:
    """In the user's thread or in any other one: the caller's future ends within `operation_timeout`."""
    program = """
threading.settrace(None)
client.shutdown()
is_traced = threading.Event()
seen = itertools.count(1)
at = 0

def trace(frame, event, _):
    if is_traced.is_set() and of_callbacks(frame, event) and next(seen) == at:
        raise SoftTimeLimit
    return None

threading.settrace(trace)
client = script.make_client(clusters, {"operation_timeout": 5})
users = client.get_map("interrupted")
blocking = users.blocking()
blocking.set("key", 1)
future_users = [lambda: users.get("key").result(), lambda: users.put("key", 1).result()]
structures = itertools.count()
future_users += [lambda: client.get_map(f"fresh-{next(structures)}").get("key").result()]
for use in future_users:
    for at in range(1, 30):
        seen = itertools.count(1)
        is_traced.set()
        answers(use, within=6)
        answers(lambda: blocking.get("key"), within=6)
        is_traced.clear()
        if next(seen) <= at:
            break
        print("interrupted", at)
answers(lambda: client.switch_to("green"))
answers(lambda: blocking.get("key"))
script.soon(lambda: script.is_at_rest(client))
client.shutdown()
"""
    assert "interrupted" in run(BEGINNING + program, clusters_of(blue, green), within=100)


def test_a_cluster_that_dies_after_interruptions(pair: tuple[LocalCluster, LocalCluster]) -> None:
    """Calls are interrupted, then their cluster dies: others get answers from the next one within 15 s."""
    blue, green = pair
    program = """
client.switch_to("blue")
def act():
    for _ in range(200):
        users.get("key")
        client.get_map("interrupted").get("key").result()

for point in itertools.islice(interrupted(act, TimeLimit, of_futures), 40):
    pass
for point in itertools.islice(interrupted(act, TimeLimit, of_waits), 40):
    pass
print("kill")
sys.stdin.readline()
answers(lambda: users.get("key"))
script.soon(lambda: client.status().state.value == "connected")
assert client.status().current_cluster == "green"
script.soon(lambda: script.is_at_rest(client))
client.shutdown()
"""
    with running(BEGINNING + program, clusters_of(blue, green), operation_timeout=5) as script:
        script.expect("kill", within=60)
        blue.kill()
        script.say()
        script.ends(40)


def test_exceptions_at_random_moments(blue: LocalCluster, green: LocalCluster) -> None:
    """Thousands of them, with switches in between: other threads get answers, and nothing remains in flight."""
    program = """
import ctypes, random
chance, ends = random.Random(7), time.monotonic() + 15
raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
counts = {"raised": 0, "worked": 0}
names = itertools.count()

def work():
    users.get("key")
    users.put("key", 1)
    client.get_map("interrupted").put("key", 2).result()
    with client.same_cluster():
        users.get("key")
    users.lock("locked", lease_time=1)
    users.force_unlock("locked")
    users.remove_entry_listener(users.add_entry_listener(added_func=print))
    with client.new_transaction() as transaction:
        transaction.get_map("interrupted").put(f"key {next(names)}", 1)
    client.get_map(f"fresh-{next(names) % 50}").blocking().get("key")

def loop():
    while time.monotonic() < ends:
        try:
            work()
            counts["worked"] += 1
        except TimeLimit:
            pass
        except Exception as error:
            counts[type(error).__name__] = counts.get(type(error).__name__, 0) + 1

def forever():
    while time.monotonic() < ends:
        try:
            loop()
        except TimeLimit:
            pass

thread = threading.Thread(target=forever, daemon=True)
thread.start()
switched = time.monotonic()
while time.monotonic() < ends - 1:
    time.sleep(chance.expovariate(400))
    raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeLimit))
    counts["raised"] += 1
    if time.monotonic() > switched + 1:
        answers(lambda: users.get("key"))
        answers(lambda: client.switch_to(other()))
        switched = time.monotonic()
thread.join(20)
assert counts["raised"] > 500, counts
assert not thread.is_alive()
answers(lambda: users.get("key"))
answers(lambda: client.switch_to(other()))
script.soon(lambda: not client._operations.sections and not client._operations.outstanding, within=8)
script.soon(lambda: not any(link.calls for link in client._runtime.engine.links.all()), within=8)
answers(client.shutdown)
"""
    run(BEGINNING + program, clusters_of(blue, green), within=60)
