"""Threads that need a CP group's session at the same time share one, also after a switch."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hazelcast.future import Future

from flask_hazelcast_failover import ClusterChanged, OperationOutcomeUnknown
from flask_hazelcast_failover.testing import LocalCluster
from tests.client.api.test_cp import CP, LAST_WITH_CP
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_on
from tests.support.clock import HOUR, let_clock_leap, set_clock
from tests.support.waiting import eventually

THREADS = 12


@pytest.fixture(scope="module")
def consistent() -> Iterator[LocalCluster]:
    with LocalCluster("blue", 3, version=LAST_WITH_CP, config=CP) as cluster:
        yield cluster


@pytest.fixture
def client(consistent: LocalCluster) -> Iterator[Any]:
    """A client that has used no structure yet."""
    with client_on(consistent, health_check_interval=0, operation_timeout=30.0) as connected:
        yield connected


def simultaneously(act: Callable[[int], object]) -> list[BackgroundCall]:
    """Call a function on several threads at the same moment, with the number of the thread."""
    ready = threading.Barrier(THREADS)

    def begin(number: int) -> object:
        ready.wait()
        return act(number)

    return [BackgroundCall(partial(begin, number)) for number in range(THREADS)]


def sessions_of(client: Any) -> Any:
    (official,) = client.control.connected_clusters().values()
    return official._proxy_session_manager


def test_many_threads_release_their_first_lock(client: Any) -> None:
    lock = client.cp_subsystem.get_lock("first-of-many").blocking()

    def use(_: int) -> None:
        for _ in range(3):
            lock.lock()
            lock.unlock()

    for outcome in simultaneously(use):
        assert outcome.wait(25).error is None


def test_one_thread_releases_its_first_locks(client: Any) -> None:
    locks = [client.cp_subsystem.get_lock(f"first-{number}") for number in range(THREADS)]
    for lock in locks:
        lock.is_locked().result()
    for locking in [lock.lock() for lock in locks]:
        locking.result()
    for lock in locks:
        lock.unlock().result()


def test_many_threads_release_their_first_permit(client: Any) -> None:
    permits = client.cp_subsystem.get_semaphore("bound-first").blocking()
    permits.init(THREADS)

    def use(_: int) -> None:
        for _ in range(3):
            permits.acquire()
            permits.release()

    for outcome in simultaneously(use):
        assert outcome.wait(25).error is None
    assert permits.available_permits() == THREADS


def test_threads_share_the_session_after_a_closed_one(client: Any) -> None:
    lock = client.cp_subsystem.get_lock("next-session").blocking()
    lock.lock()
    lock.unlock()
    (session,) = sessions_of(client)._sessions.values()
    sessions_of(client)._request_close_session(session.group_id, session.id).result()

    def use(_: int) -> None:
        lock.lock()
        lock.unlock()

    for outcome in simultaneously(use):
        assert outcome.wait(25).error is None


def test_an_unanswered_request_is_repeated(client: Any) -> None:
    lock = client.cp_subsystem.get_lock("unanswered").blocking()
    lock.is_locked()
    manager = sessions_of(client)
    ask, close = manager._request_new_session, manager._request_close_session
    first: Future[Any] = Future()
    closed = []

    def closes(group: Any, session: int) -> Any:
        closed.append(session)
        return close(group, session)

    manager._request_new_session, manager._request_close_session = lambda _: first, closes
    waiting = BackgroundCall(lambda: (lock.lock(), lock.unlock()))
    eventually(lambda: first._callbacks)
    over = time.monotonic() + 1.1
    eventually(lambda: time.monotonic() > over)
    manager._request_new_session = ask
    assert lock.try_lock(timeout=10) != lock.INVALID_FENCE
    lock.unlock()
    assert waiting.wait().error is None
    (session,) = manager._sessions.values()
    first.set_result(ask(session.group_id).result())  # late: that session is not needed any more
    eventually(lambda: len(closed) == 1)
    assert [kept.id for kept in manager._sessions.values()] == [session.id] != closed


def test_a_refused_session_fails_those_who_wait_only(client: Any) -> None:
    lock = client.cp_subsystem.get_lock("refused").blocking()
    lock.is_locked()
    manager = sessions_of(client)
    ask, refused = manager._request_new_session, Future[Any]()
    manager._request_new_session = lambda _: refused
    waiting = [BackgroundCall(lock.lock) for _ in range(2)]
    eventually(lambda: len(refused._callbacks) == 1)
    refused.set_exception(ValueError("no session today"))
    assert [type(outcome.wait().error) for outcome in waiting] == [ValueError, ValueError]
    manager._request_new_session = ask
    lock.lock()
    lock.unlock()


def test_a_change_of_the_system_time_ends_no_session(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = client.cp_subsystem.get_lock("clock-session").blocking()
    lock.lock()
    lock.unlock()
    (session,) = sessions_of(client)._sessions.values()
    assert session.is_valid() and not session.is_in_use()
    set_clock(monkeypatch, HOUR)
    assert session.is_valid()


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
def test_a_change_of_the_system_time_ends_no_wait(
    kind: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subsystem, name = client.cp_subsystem, f"bound-clock-{kind}"
    lock, permits = subsystem.get_lock(name).blocking(), subsystem.get_semaphore(name).blocking()
    permits.init(1)
    acquire = {
        "lock": lambda: lock.try_lock(timeout=10),
        "semaphore": lambda: permits.try_acquire(timeout=10),
    }[kind]
    release = {"lock": lock.unlock, "semaphore": permits.release}[kind]
    assert acquire()
    release()
    (session,) = sessions_of(client)._sessions.values()
    sessions_of(client)._request_close_session(session.group_id, session.id).result()
    let_clock_leap(monkeypatch, HOUR)
    assert acquire()


def test_every_thread_can_lock_after_a_switch(consistent: LocalCluster, start_cluster: StartCluster) -> None:
    lost = start_cluster("green", 3, version=LAST_WITH_CP, config=CP)
    done: Counter[tuple[str, int]] = Counter()
    errors: list[Exception] = []
    over = threading.Event()
    with client_on(lost, consistent, operation_timeout=30.0) as client:
        lock = client.cp_subsystem.get_lock("survivor").blocking()

        def use(number: int) -> None:
            while not over.is_set():
                try:
                    lock.lock()
                    lock.unlock()
                    done[client.status().current_cluster, number] += 1
                except (ClusterChanged, OperationOutcomeUnknown) as error:
                    errors.append(error)

        workers = simultaneously(use)
        eventually(lambda: all(done["green", number] > 2 for number in range(THREADS)), 30.0)
        lost.kill()
        try:
            eventually(lambda: all(done["blue", number] > 2 for number in range(THREADS)), 30.0)
        finally:
            over.set()
        for worker in workers:
            assert worker.wait().error is None
        assert len(errors) <= 3 * THREADS  # what was in flight when each of the three members died
