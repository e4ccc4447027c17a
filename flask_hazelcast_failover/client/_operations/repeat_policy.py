"""Decides what becomes of an operation that was lost: whether it runs again, and on which link.

What is known of it is ``NOT_RUN`` or ``UNKNOWN`` (``RepeatPolicy.classify_loss``). ``NOT_RUN`` is always repeated.
``UNKNOWN`` is repeated as far as the method's idempotency and the option ``repeat`` allow, else it ends with
``OperationOutcomeUnknown``. All repeating ends ``wait_timeout`` after the first loss.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from hazelcast.errors import ClientOfflineError, HazelcastError, OperationTimeoutError

from ..._threads import resting
from ...errors import ClientOfflineException, ClusterChanged, OperationOutcomeUnknown
from .._connect.link import Link, Overdue
from ..options import Options, Repeat
from .affinity import ClusterAffinity
from .idempotency import Idempotency, Outcome, RepeatOn, may_repeat
from .operation import LostOperation, Operation
from .route import Route

# The pause before an operation goes to the same link again, seconds: no busy loop against a dying cluster.
_PAUSE = 0.02


@dataclass
class Counters:
    """How often something happened since the client was made. Changed under the lock of the policy."""

    repeated: int = 0
    unknown: int = 0
    waiting: int = 0
    dropped_events: int = 0


class RepeatPolicy:
    """Whether and where operations run, and run again."""

    def __init__(self, route: Route, options: Options) -> None:
        self.route = route
        self._repeat = options.repeat
        self._wait_timeout = options.wait_timeout
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Begin anew: in a forked child no operation is in flight and no lock is held."""
        self.affinity = ClusterAffinity()
        self.counters = Counters()  # under _lock
        self._lock = threading.Lock()

    def next_link(self, operation: Operation, lost: LostOperation | None) -> Link:
        """The link for the operation, which may be waited for, or the error that says why there is none.

        :raises ClientOfflineException: no cluster can be reached
        :raises OperationOutcomeUnknown: it may have run, and is not repeated where the client is now
        """
        if lost is None:
            return self._wait_for_link(operation.called_at + self._wait_timeout)
        self.refuse_if_unrepeatable(operation, lost)
        try:
            link = self._link_after(lost)
        except ClientOfflineException:
            if self._may_repeat(operation, lost, RepeatOn.SAME_DATA):
                raise
            raise self._not_repeated(operation, lost) from None
        repeat_on = RepeatOn.SAME_DATA if link.data_id in lost.may_have_run_on else RepeatOn.OTHER_DATA
        is_resent = self._may_be_resent(operation) and link is not lost.link and link.continues(lost.link)
        if not (is_resent or self._may_repeat(operation, lost, repeat_on)):
            raise self._not_repeated(operation, lost)
        return link

    def check(self, operation: Operation, link: Link, lost: LostOperation | None) -> None:
        """Refuse what may not run on ``link``, right before it is started there.

        :raises ClusterChanged: it belongs to a cluster that the client has left
        """
        if operation.section_visit_id not in (None, link.visit_id):
            raise self._moved(operation, link, lost)
        if operation.holder is not None:
            self.affinity.check(operation.traits.affinity, operation.holder, link)
        if lost is not None:
            with self._lock:
                self.counters.repeated += 1

    def record_result(self, operation: Operation, link: Link, result: object) -> None:
        """Record the locks, permits or sequences that a successful operation has tied to ``link``."""
        if operation.holder is not None:
            self.affinity.record(operation.traits.affinity, operation.holder, link, result)

    def classify_loss(
        self,
        operation: Operation,
        link: Link,
        outcome: Outcome,
        error: Exception,
        before: LostOperation | None,
        lost_at: float | None = None,
    ) -> LostOperation:
        """Say what is known of an operation that failed with one of ``LOSS_ERRORS``.

        :param outcome: ``UNKNOWN`` if it was started
        :param before: its earlier losses
        :param lost_at: when it failed, monotonic seconds; now if ``None``
        :raises OperationTimeoutError: the cluster lives and did not answer: never repeated
        :raises OperationOutcomeUnknown: likewise, for a method that may run only once
        """
        if isinstance(error, (Overdue, OperationTimeoutError)):
            raise self._timed_out(operation, link, error) from None
        if type(error) is ClientOfflineError and operation.is_one_request:
            outcome = Outcome.NOT_RUN  # the official client refused to send it
        may_have_run_on = before.may_have_run_on if before else frozenset()
        if outcome is Outcome.UNKNOWN:
            may_have_run_on |= {link.data_id}
        lost_at = time.monotonic() if lost_at is None else lost_at
        first_lost_at = before.first_lost_at if before else lost_at
        return LostOperation(link, error, lost_at, first_lost_at, may_have_run_on)

    def refuse_if_unrepeatable(self, operation: Operation, lost: LostOperation) -> None:
        """Raise at once if no cluster could take the operation again.

        :raises OperationOutcomeUnknown: it may have run, and is not repeated anywhere
        """
        if self._may_be_resent(operation) and not lost.is_link_alive():
            return  # depends on whether the client reconnects to the same cluster
        if not self._may_repeat(operation, lost, RepeatOn.OTHER_DATA):
            raise self._not_repeated(operation, lost)

    def count_dropped_event(self) -> None:
        """Count an event that was dropped because its listener does not keep up."""
        with self._lock:
            self.counters.dropped_events += 1

    def _link_after(self, lost: LostOperation) -> Link:
        """Another link than the lost one, or the same if only one of its members was lost."""
        deadline = lost.first_lost_at + self._wait_timeout
        if not lost.is_link_alive():
            return self._wait_for_link(deadline, other_than=lost.link)
        if time.monotonic() > deadline:
            raise ClientOfflineException(
                f"{lost.link.label} does not take the operation within wait_timeout"
                f" ({type(lost.error).__name__})"
            )
        with resting():
            time.sleep(max(0.0, lost.lost_at + _PAUSE - time.monotonic()))
        return self._wait_for_link(deadline)

    def _wait_for_link(self, deadline: float, other_than: Link | None = None) -> Link:
        link = self.route.link
        if link is not None and link is not other_than:
            return link
        with self._lock:
            self.counters.waiting += 1
        try:
            return self.route.active(deadline, other_than)
        finally:
            with self._lock:
                self.counters.waiting -= 1

    def _may_be_resent(self, operation: Operation) -> bool:
        return operation.has_request_id and self._repeat is Repeat.REPEATABLE

    def _may_repeat(self, operation: Operation, lost: LostOperation, repeat_on: RepeatOn) -> bool:
        return may_repeat(operation.traits.idempotency, self._repeat, lost.outcome, repeat_on)

    def _moved(self, operation: Operation, link: Link, lost: LostOperation | None) -> HazelcastError:
        is_harmless = operation.traits.idempotency in (Idempotency.READ, Idempotency.REPEATABLE)
        if lost is not None and lost.outcome is Outcome.UNKNOWN and not is_harmless:
            return self._not_repeated(operation, lost)
        return ClusterChanged(
            f"the client has moved (now on {link.label}, in epoch {link.epoch}) since this same_cluster() section"
            " began: begin it again"
        )

    def _timed_out(self, operation: Operation, link: Link, error: Exception) -> HazelcastError:
        message = f"{operation.title}: {link.label} did not answer ({error.args[0]})"
        if operation.traits.idempotency is Idempotency.ONCE:
            return self._outcome_unknown(f"{message}; it may or may not have run there")
        return OperationTimeoutError(message)

    def _not_repeated(self, operation: Operation, lost: LostOperation) -> OperationOutcomeUnknown:
        return self._outcome_unknown(
            f"{operation.title}: the connection to {lost.link.label} was lost while it was under way; it"
            f" may or may not have run there, and was not repeated (repeat={str(self._repeat)!r},"
            f" class {operation.traits.idempotency.name})"
        )

    def _outcome_unknown(self, message: str) -> OperationOutcomeUnknown:
        with self._lock:
            self.counters.unknown += 1
        return OperationOutcomeUnknown(message)
