"""This process as a worker of its fleet: it exchanges records with the others and follows the policy."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from hazelcast.errors import HazelcastClientNotActiveError

from .._threads import helper_thread
from ..client import HazelcastClient
from ..client.events import FleetSplit, Reason
from ..client.status import ClientStatus, State
from ..errors import ClientOfflineException
from .cluster_store import StoreSnapshot
from .fleet_store import FleetStore
from .heartbeat_thread import HeartbeatThread
from .policy import Destination, FleetPolicy, Location
from .records import (
    AtHighest,
    Desired,
    HighestGeneration,
    OrderSource,
    ReachabilityAnswer,
    ReachabilityQuestion,
    WorkerRecord,
    for_all,
)
from .worker_identity import FleetView, WorkerIdentity

_logger = logging.getLogger("flask_hazelcast_failover.fleet")

# Not the shared generator: apps and tests may have seeded that, and this would take numbers out of its sequence.
_random = random.SystemRandom()

# Between two heartbeats, seconds: usually, and for a while after a worker has switched.
_INTERVAL, _SHORT_INTERVAL = 1.0, 0.15
_SHORT_FOR = 2.0
# How long the clusters may take to answer, seconds.
_STORE_TIMEOUT = 0.5
# A worker that could read nothing for this long assumes that it has no orders, seconds.
_UNREADABLE_AFTER = 10.0
# How often the desired state is written again when another worker was faster.
_WRITE_TRIES = 5


class FleetWorker:
    """Keeps this process in touch with its fleet, from the client's first connection to its end.

    :param is_serving: whether this process counts as a worker
    """

    def __init__(
        self, client: HazelcastClient, identity: WorkerIdentity, is_serving: Callable[[], bool]
    ) -> None:
        self.identity = identity
        self.view = FleetView()  # replaced as a whole by the heartbeat's thread
        self.last_seen: tuple[str, ...] = ()  # likewise: ids of the workers when a cluster could last be read
        self._client = client
        self._is_serving = is_serving
        self._lock = threading.Lock()
        self._pauses = 0  # changed under _lock: how many callers switch this process themselves
        self._thread = HeartbeatThread(identity.fleet, self._heartbeat, self._is_at_rest)
        self._store = FleetStore(identity.fleet, identity.is_named, self.wake)
        # All below belongs to the heartbeat's thread.
        self._policy = FleetPolicy()
        self._heartbeats = 0
        self._has_read = False
        self._started_at: float | None = None  # monotonic seconds
        self._is_switching = False
        self._questions: deque[ReachabilityQuestion] = deque(maxlen=8)  # the last ones that were taken up
        self._answers: deque[ReachabilityAnswer] = deque(maxlen=8)
        self._failback_epoch = 0  # failbacks up to this epoch are not reported to the fleet

    # For other threads.

    def wake(self) -> None:
        """Have a heartbeat soon. Does not wait."""
        self._thread.wake()

    def refresh(self, timeout: float) -> FleetView:
        """Read the fleet's records now.

        :param timeout: seconds; raises ``TimeoutError`` after that, as the methods below do
        """

        def refresh() -> FleetView:
            self._heartbeat()
            return self.view

        return self._thread.call(refresh, timeout)

    def write_desired(self, make: Callable[[FleetView], Desired], timeout: float) -> Desired:
        """Write a new desired state, made from the last one."""
        return self._thread.call(lambda: self._write_desired(make), timeout)

    def mark_done(self, desired: Desired, timeout: float) -> None:
        """Note that this process was switched as desired: if it is elsewhere later, it does not switch again."""
        self._thread.call(lambda: self._mark_done(desired), timeout)

    def put_question(self, question: ReachabilityQuestion, timeout: float) -> None:
        """Ask other workers whether they can reach a cluster; they answer in their records."""
        self._thread.call(lambda: self._store.put_question(question), timeout)

    @contextmanager
    def pause_switching(self) -> Iterator[None]:
        """Within the block, the caller switches this process, and the heartbeat does not."""
        with self._lock:
            self._pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1

    def stop(self, timeout: float) -> None:
        """Stop the heartbeat and remove this worker's record, within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        self._thread.stop(timeout / 2)
        if self._is_serving():
            self._store.remove_record(self._client.status().worker, end - time.monotonic())

    # The heartbeat.

    def _heartbeat(self) -> None:
        self._heartbeats += 1
        self._thread.schedule(time.monotonic() + _INTERVAL)
        status = self._client.status()
        clients = self._client.control.connected_clusters()
        connected = [label for label in self.identity.labels if label in clients]
        self._store.use({label: clients[label] for label in connected})
        snapshots = self._store.read(_STORE_TIMEOUT)
        now = time.monotonic()
        if self._started_at is None:
            self._started_at, self._failback_epoch = now, status.epoch
        me = self.identity.record(status, connected, self._heartbeats, self._answers)
        location = Location(me.id, me.current_cluster, frozenset(me.reach))
        others = [record for found in snapshots for record in found.records if record.id != me.id]
        unreadable = {worker for found in snapshots for worker in found.unreadable_workers}
        self._policy.observe([*others, me] if self._is_serving() else others, location, now, unreadable)
        self._receive_desired(snapshots, bool(others), me.id, now)
        if not snapshots:
            self._policy.forget_majority()
        if self._is_serving():
            self._store.put_record(me, now)
            self._propose_desired(status, me, now)
            if me.current_cluster is not None and self._policy.are_all_on(me.current_cluster, now):
                self._store.clear_arrival(me.current_cluster)
            self._report_split(now)
            self._answer_questions(snapshots, me.id)
        else:
            self._failback_epoch = status.epoch  # a failback while not serving is never reported
        if self._policy.desired is not None and snapshots:
            self._store.write_desired(self._policy.desired, _STORE_TIMEOUT)
            self._store.renew_desired(now)
        self._publish_view(bool(snapshots))  # before switching, so that the view says why
        if self._unreported_failback(status) is None:
            self._switch_if_needed(location, now)
        interval = _INTERVAL if now - self._policy.changed_at > _SHORT_FOR else _SHORT_INTERVAL
        self._thread.schedule(now + interval * _random.uniform(0.9, 1.1))

    def _is_at_rest(self) -> bool:
        return self._client.status().state in (State.IDLE, State.CLOSED)

    def _receive_desired(
        self, snapshots: Sequence[StoreSnapshot], has_others: bool, worker: str, now: float
    ) -> None:
        obeys = self._has_read or has_others or self.identity.trusts_past
        for snapshot in snapshots:
            desired = snapshot.desired
            if desired is not None and not obeys:
                desired = for_all(
                    desired, None, "nobody", OrderSource.NOBODY, at_highest=AtHighest.BEGIN_AGAIN
                )
            if desired is not None:
                self._policy.receive(desired, worker, now)
        self._has_read = self._has_read or bool(snapshots)

    def _propose_desired(self, status: ClientStatus, me: WorkerRecord, now: float) -> None:
        """Write what follows from this worker's failback, or from where the majority is."""
        failback = self._unreported_failback(status)
        proposed = failback or self._policy.desired_by_majority(now)
        if proposed is None or not self._store.write_desired(proposed, _STORE_TIMEOUT):
            return
        self._policy.receive(proposed, me.id, now)
        if failback is not None:
            self._failback_epoch = status.epoch
        _logger.info(
            "fleet %s: desired cluster is %s now, by %s (generation %d)",
            self.identity.fleet,
            proposed.fleet.label,
            proposed.fleet.by,
            proposed.generation,
        )

    def _unreported_failback(self, status: ClientStatus) -> Desired | None:
        """The desired state by which the others follow this worker's failback."""
        last = status.history[-1] if status.history else None
        if last is None or last.epoch != status.epoch or last.reason != Reason.FAILBACK:
            return None
        desired = self._policy.desired
        if last.epoch <= self._failback_epoch or (desired and desired.fleet.label == last.current):
            return None
        if desired and desired.fleet.label not in (None, *self.identity.labels):
            return None  # it lacks the cluster that the others are ordered to, so it must not lead them
        try:
            return for_all(desired, last.current, "failback", OrderSource.FAILBACK)
        except HighestGeneration:
            return None

    def _report_split(self, now: float) -> None:
        split = self._policy.lasting_split(now)
        if split is not None:
            counts = ", ".join(f"{count} on {label}" for label, count in split.items())
            _logger.warning("fleet %s is split: %s", self.identity.fleet, counts)
            self._client.control.announce(FleetSplit(self.identity.fleet, split))

    def _publish_view(self, is_known: bool) -> None:
        now = time.monotonic()
        policy = self._policy
        worker = self._client.status().worker
        order = policy.desired.order_for(worker) if policy.desired is not None else None
        if order is not None and order.label not in self.identity.labels:
            order = None  # for a cluster that only others have
        has_read = self._has_read or (
            self._started_at is not None and now - self._started_at > _UNREADABLE_AFTER
        )
        self.view = FleetView(
            workers=tuple(policy.live(now)),
            desired=policy.desired,
            is_known=is_known,
            has_pending_order=not has_read or (order is not None and policy.has_pending_order),
            is_held=order is not None and order.holds,
            majority=policy.majority,
        )
        if is_known:
            self.last_seen = tuple(record.id for record in self.view.workers)

    # What takes longer than a heartbeat, each on a thread of its own.

    def _switch_if_needed(self, location: Location, now: float) -> None:
        if self._is_switching or self._pauses:
            return
        destination = self._policy.destination(location, now)
        if destination is None:
            return
        if destination.label not in self.identity.labels:
            self._policy.failed(destination, now)
            return
        self._is_switching = True
        if destination.label != location.current:
            level = logging.WARNING if self._is_serving() else logging.INFO  # a shell switches only itself
            message = "fleet %s: switching to %s %s"
            _logger.log(level, message, self.identity.fleet, destination.label, destination.why)
        helper_thread(partial(self._switch, destination), "hazelcast-failover-fleet-move").start()

    def _switch(self, destination: Destination) -> None:
        index = self.identity.labels.index(destination.label)
        try:
            self._client.control.switch(index, Reason.FLEET, holds=destination.holds)
        except (ClientOfflineException, HazelcastClientNotActiveError) as error:
            _logger.info("fleet %s: cannot switch to %s: %s", self.identity.fleet, destination.label, error)
            finish = self._policy.failed
        else:
            finish = self._policy.arrived

        def finished() -> None:
            self._is_switching = False
            finish(destination, time.monotonic())
            self._heartbeat()

        self._thread.submit(finished)

    def _answer_questions(self, snapshots: Sequence[StoreSnapshot], worker: str) -> None:
        for question in (question for snapshot in snapshots for question in snapshot.questions):
            if question in self._questions or worker not in question.workers:
                continue
            if question.label in self.identity.labels:
                self._questions.append(question)
                helper_thread(partial(self._answer, question), "hazelcast-failover-fleet-try").start()

    def _answer(self, question: ReachabilityQuestion) -> None:
        can_reach = True
        try:
            self._client.control.try_to_connect(self.identity.labels.index(question.label))
        except (ClientOfflineException, HazelcastClientNotActiveError) as error:
            _logger.info("fleet %s: cannot connect to %s: %s", self.identity.fleet, question.label, error)
            can_reach = False

        def answered() -> None:
            self._answers.append(ReachabilityAnswer(question.id, can_reach))
            self._heartbeat()

        self._thread.submit(answered)

    # What other threads call.

    def _write_desired(self, make: Callable[[FleetView], Desired]) -> Desired:
        for _ in range(_WRITE_TRIES):
            self._heartbeat()
            desired = make(self.view)
            if self._store.write_desired(desired, 2 * _STORE_TIMEOUT):
                break
            self._heartbeat()
            if self.view.desired == desired:
                break  # the faster worker has only copied it from another cluster
        worker = self._client.status().worker
        self._policy.receive(desired, worker, time.monotonic())
        self._publish_view(self.view.is_known)
        return desired

    def _mark_done(self, desired: Desired) -> None:
        status = self._client.status()
        order = desired.order_for(status.worker)
        last = status.history[-1].reason if status.history else None
        if status.current_cluster == order.label or last not in (Reason.MANUAL, Reason.FLEET):
            self._policy.carried_out(order)
        # Else another command switched it at the same moment: the order is still to be carried out.
