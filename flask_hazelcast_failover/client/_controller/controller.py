"""What happens when the primary dies: the one place that decides where operations go.

The controller owns what state the clusters are in. It gets events, one after the other on one thread,
and has its ``Effects`` carry out what it decides, without blocking; what takes time comes back as an
event. Nothing here sleeps, connects or knows the official client, so that a test can drive it.

The way of a failover: ``LinkDown`` → ``_lose`` suspends operations and begins a search → ``_search``
dials → ``AttemptEnded`` → ``_search`` finds the best cluster → ``_move`` has listeners carried over →
``Prepared`` → ``_arrive`` publishes the link and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord, LinkView, failed_too_often
from flask_hazelcast_failover.client._controller.connect_scheduler import ConnectScheduler
from flask_hazelcast_failover.client._controller.effects import Effects
from flask_hazelcast_failover.client._controller.event_publisher import EventPublisher
from flask_hazelcast_failover.client._controller.failback import (
    FailbackPolicy,
    has_moved,
    renew_addresses,
    reset_relapses,
)
from flask_hazelcast_failover.client._controller.messages import (
    AddressesVerified,
    AttemptEnded,
    Begin,
    Checked,
    Drained,
    LinkDown,
    Message,
    Prepared,
    ReadyAnswered,
    Resolved,
    SwitchRequest,
)
from flask_hazelcast_failover.client._controller.pending_switch import PendingSwitch, PendingSwitches
from flask_hazelcast_failover.client._controller.requests import RequestQueue
from flask_hazelcast_failover.client._controller.search import Search
from flask_hazelcast_failover.client._controller.standbys import Standbys
from flask_hazelcast_failover.client.events import ClusterSwitched, Reason
from flask_hazelcast_failover.client.options import Failback, Options
from flask_hazelcast_failover.client.status import ClientStatus, State
from flask_hazelcast_failover.errors import ClientShutDown

__all__ = ["FailoverController"]


class FailoverController:
    """Decides every switch. All of it belongs to one thread.

    :param records: the clusters in order of priority
    :param options: the client's options, with ``try_count`` filled in
    :param world: carries decisions out
    :param worker: id of this process
    """

    def __init__(
        self, records: Sequence[ClusterRecord], options: Options, world: Effects, worker: str
    ) -> None:
        self.records = records
        self.active: LinkView | None = None
        self.current: ClusterRecord | None = None  # where operations went last
        self.state = State.IDLE
        self.epoch = 0
        self._data = 0  # on which data operations went last
        self._stay = 0  # counts the times that operations went to other data than before
        self._options = options
        self._world = world
        self._worker = worker
        self._tries = options.try_count or 3
        self._search_now: Search | None = None
        self._looked_at = 0.0  # when the search last looked at the clusters
        self._moves = PendingSwitches()
        self._left_at: tuple[Reason, float] | None = None  # why and when operations had to stop
        self._wishes = RequestQueue(world)
        self._dialler = ConnectScheduler(options, world)
        self._standbys = Standbys(records, options, world)
        self._way_back = FailbackPolicy(options, world)
        self._chronicle = EventPublisher(records, world)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Begin: lambda _: self._begin(),
            LinkDown: self._link_down,
            AttemptEnded: self._attempt_ended,
            Prepared: self._prepared,
            Drained: self._drained,
            Checked: self._checked,
            SwitchRequest: self._wished,
            ReadyAnswered: self._ready_answered,
            Resolved: lambda event: renew_addresses(self.records[event.index], event, self._world),
            AddressesVerified: self._scouted,
        }

    def handle(self, happening: Message | None = None) -> None:
        """Take one event in, or none when only time has passed, and do what is due."""
        if happening is not None:
            self._handlers[type(happening)](happening)
        if self.state is not State.IDLE:
            self._do_what_is_due()
        self._world.show(self.status())
        self._wishes.tell()

    def next_due(self) -> float | None:
        """When something is due although no event comes, monotonic seconds."""
        due = [record.dial_at for record in self.records] + [record.resolve_at for record in self.records]
        if self._search_now is not None and self._moves.now is None:
            ends = self._search_now.patience_ends(self.records)
            due += [at for at in ends if at > self._looked_at]
        if self._search_now is not None:
            due.append(self._moves.slow_at())
        if self._may_fail_back():
            due += self._way_back.due(self._higher())
        return min((at for at in due if at is not None and at < math.inf), default=None)

    def close(self, farewell: Callable[[], Exception] = ClientShutDown) -> None:
        """Answer everybody who still waits: nothing more will happen.

        :param farewell: makes the error for each
        """
        self.state = State.CLOSED
        self.active = None
        self._world.show(self.status())
        self._wishes.close([move.wish for move in self._moves.all()], farewell)

    def status(self) -> ClientStatus:
        """How things stand."""
        current = self.current if self.active is not None else None
        return ClientStatus(
            worker=self._worker,
            state=self.state,
            current_cluster=current.label if current else None,
            current_index=current.index if current else None,
            on_primary=current is not None and current.index == 0,
            epoch=self.epoch,
            clusters=tuple(record.status(self.active) for record in self.records),
            history=tuple(self._chronicle.history),
        )

    # Searching: from the start or a loss to the best cluster that can be reached.

    def _begin(self) -> None:
        if self.state is State.IDLE:
            self._left_at = Reason.CONNECTION_LOST, self._world.now()
            self._suspend()
            self._begin_search(Search.thorough(self.records, self._tries, self._options))

    def _begin_search(self, search: Search) -> None:
        self._wishes.put_off()
        for record in self.records:
            record.begin_search(self._world.now())
        self._search_now = search
        self._search()

    def _search(self) -> None:
        """Move to the best cluster that is there, dial those that may be, or give up."""
        search = self._search_now
        if search is None or self._moves.now is not None:
            return
        self._looked_at = self._world.now()
        outcome = search.look(self.records, self._looked_at)
        for record in outcome.dial:
            self._dialler.dial(record)
        if outcome.found is not None and outcome.found.link is not None:
            reason = self._left_at[0] if self._left_at else Reason.CONNECTION_LOST
            self._move(outcome.found, outcome.found.link, reason)
        elif outcome.is_over:
            self._give_up()

    def _give_up(self) -> None:
        self._search_now = None
        self.state = State.OFFLINE
        self._world.show(self.status())
        self._world.offline(self._chronicle.why_offline())
        self._dial_later()
        self._chronicle.exhausted()

    def _attempt_ended(self, event: AttemptEnded) -> None:
        record = self.records[event.index]
        if record.attempt != event.attempt:
            if event.link is not None:
                self._standbys.discard(event.link)
        elif event.link is None:
            self._attempt_failed(record, event.why, event.refusing)
        elif not event.link.is_connected():
            self._standbys.discard(event.link)
            self._attempt_failed(record, "closed right after connecting", refusing=False)
        elif record.is_left(event.link):
            self._standbys.discard(event.link)
            self._attempt_failed(
                record, "closed: it kept locks of before the client went elsewhere", refusing=False
            )
        else:
            if event.preferred is not None and self._search_now is not None and self.epoch == 0:
                self._search_now = self._search_now.preferring(event.preferred)
            self._connected(record, event.link)

    def _attempt_failed(self, record: ClusterRecord, why: str, refusing: bool) -> None:
        record.failed(why)
        record.refusing = refusing
        if self.state is State.OFFLINE and self._moves.now is None:
            self._world.offline(self._chronicle.why_offline())  # it may be another reason by now
        searched = self._search_now is not None and self._search_now.may_come(record)
        wished = self._wishes.wants(record)
        if (searched or wished) and record.tries < self._tries and self.state is not State.OFFLINE:
            self._dialler.dial_again(record)
        else:
            self._dial_later()
            if wished:
                self._wishes.unreachable(record.label, why)
        self._search()

    def _connected(self, record: ClusterRecord, link: LinkView) -> None:
        record.connected(link, self._world.now())
        wish = self._wishes.dialled
        if wish is not None and wish.index == record.index:
            self._wishes.dialled = None
            self._move(record, link, wish.reason, wish)
        elif self._search_now is not None:
            self._search()
        elif self.state is State.OFFLINE:
            # Look shortly whether it is the best there is.
            self._begin_search(Search.quick(self.records, self._options))
        elif not self._standbys.is_kept(record, self.current):
            self._standbys.close(record)
        else:
            self._chronicle.connected(record, self.active)

    # Moving: from a link to operations on it.

    def _move(
        self,
        record: ClusterRecord,
        link: LinkView,
        reason: Reason,
        wish: SwitchRequest | None = None,
        replacing: LinkView | None = None,
    ) -> None:
        self._moves.now = PendingSwitch(link, record, reason, self._world.now(), wish, replacing)
        self._world.prepare(link)

    def _prepared(self, event: Prepared) -> None:
        move = self._moves.of(event.link)
        if move is None:
            return
        has_relapsed = not self._way_back.is_fit(self._higher(), move.record)
        if event.why is not None:
            self._fail(move, event.why)
            if move.record.link is move.link:
                self._lose(move.record, move.link, Reason.CONNECTION_LOST, event.why)
            self._search()
        elif move.reason is Reason.FAILBACK and self.active is not None and has_relapsed:
            self._fail(move, "a health check failed meanwhile")
            self._world.leave(move.link)
        else:
            for other in self._moves.all():
                if other is not move:
                    self._fail(other, f"{move.record.label} was ready first")
                    other.record.passed_over(f"its listeners took long, so {move.record.label} was taken")
                    self._standbys.leave(other.link)
            self._arrive(move)

    def _fail(self, move: PendingSwitch, why: str) -> None:
        self._moves.end(move)
        if move.replacing is not None:
            self._standbys.discard(move.link)
        if move.wish is not None:
            self._wishes.refuse(move.wish, move.record.label, why)

    def _arrive(self, move: PendingSwitch) -> None:
        now, record, before, previous = self._world.now(), move.record, self.active, self.current
        if move.replacing is not None:
            record.replaced(move.link, now)
        reason, since = move.reason, move.since
        if self._left_at is not None:  # operations had to stop before, for a reason of its own
            reason, since = (reason if move.wish else self._left_at[0]), self._left_at[1]
        self.epoch += 1
        move.link.epoch = self.epoch
        if previous is not record or move.link.data_id != self._data:
            self._stay += 1
        self._data, move.link.visit_id = move.link.data_id, self._stay
        if previous is not None and previous is not record:
            previous.left()
        record.used(move.link)
        self.active, self.current, self.state = move.link, record, State.CONNECTED
        for better in self._search_now.passed_over(self.records, record) if self._search_now else ():
            better.passed_over(
                f"no connection within {now - (better.began or since):.1f} s, so {record.label} was taken"
            )
        self._search_now = self._left_at = None
        self._moves.end(move)
        switch = None
        if previous is not None and (previous is not record or move.replacing is not None):
            switch = ClusterSwitched(previous.label, record.label, reason, now - since, self.epoch)
            self._chronicle.switched(switch)
        if move.wish is not None:
            if record.announced:
                record.restarted = False  # whoever moves here on purpose has seen it
            self._wishes.grant(move.wish)
        self._standbys.use(move.link, self.status())
        if before is not None:
            self._standbys.leave(before)
        self._chronicle.arrived(record, move.link, switch)
        self._standbys.close_passed_over(move.link, record)
        self._dial_later()

    def _drained(self, event: Drained) -> None:
        self._standbys.drained(event, self.current, [move.link for move in self._moves.all()])
        self._dial_later()

    # Losing.

    def _link_down(self, event: LinkDown) -> None:
        record = self._standbys.record_of(event.link)
        if record is not None:
            self._lose(record, event.link, Reason.CONNECTION_LOST, "the connection was lost")
        elif (move := self._moves.of(event.link)) is not None:
            self._fail(move, "the connection was lost")

    def _checked(self, event: Checked) -> None:
        record = self._standbys.record_of(event.link)
        if record is None:
            return
        record.checked(event.failures, event.latency, self._world.now())
        failed = failed_too_often(record, self.records, self._options.health_check_failures)
        if failed is not None:
            self._lose(record, event.link, Reason.HEALTH_CHECK, failed, record.since())

    def _lose(
        self, record: ClusterRecord, link: LinkView, reason: Reason, why: str, since: float | None = None
    ) -> None:
        """Take a cluster for lost, ``since`` the first sign of it (monotonic seconds), now if ``None``."""
        since = self._world.now() if since is None else since
        reset_relapses(record, self._world.now())
        record.lost(why, since)
        was_active = link is self.active
        if was_active:
            self.active = None
            self._left_at = reason, since
            self._suspend()
        self._standbys.discard(link)
        self._chronicle.lost(record, was_active, reason)
        for move in self._moves.all():
            if link in (move.link, move.replacing):
                self._fail(move, why)
        if was_active:
            self._begin_search(Search.thorough(self._after(record, reason), self._tries, self._options))
        else:
            self._dial_later()

    def _after(self, lost: ClusterRecord, reason: Reason) -> list[ClusterRecord]:
        """Who is tried after a loss: the lost one first, unless failed checks were its tries."""
        others = [record for record in self.records if record is not lost]
        return others if reason is Reason.HEALTH_CHECK else [lost, *others]

    def _suspend(self) -> None:
        self.state = State.SWITCHING
        self._world.show(self.status())
        self._world.suspend()

    # RequestQueue: a switch or a reset on purpose.

    def _wished(self, wish: SwitchRequest) -> None:
        self._wishes.add(wish)
        self._begin()

    def _serve_wishes(self) -> None:
        while self._is_at_rest() and (wish := self._wishes.take()) is not None:
            self._serve(wish)

    def _serve(self, wish: SwitchRequest) -> None:
        record = self.records[wish.index]
        if record.link is not None and record.link is self.active:
            self._wishes.grant(wish)
        elif record.link is not None:
            self._move(record, record.link, wish.reason, wish)
        else:
            self._wishes.dialled = wish
            record.begin_search(self._world.now())
            if record.attempt is None:
                self._dialler.dial(record)

    # What time brings: attempts, lookups, the way back.

    def _do_what_is_due(self) -> None:
        now = self._world.now()
        for record in self.records:
            if record.dial_at is not None and record.dial_at <= now:
                self._dialler.dial(record)
            if record.resolve_at is not None and record.resolve_at <= now:
                record.resolve_at = None
                self._world.resolve(record.index)
        if self._search_now is not None and now >= self._moves.slow_at():
            self._moves.set_aside()
        self._search()
        self._serve_wishes()
        if self._may_fail_back():
            target = self._way_back.target(self._higher(), now)
            if target is not None and target.link is not None:
                self._move(target, target.link, Reason.FAILBACK)

    def _may_fail_back(self) -> bool:
        is_allowed = self._options.failback is Failback.AUTO and not self._wishes.held
        return is_allowed and self.active is not None and self._is_at_rest()

    def _higher(self) -> Sequence[ClusterRecord]:
        return self.records[: self.current.index] if self.current is not None else ()

    def _ready_answered(self, event: ReadyAnswered) -> None:
        record = self._standbys.record_of(event.link)
        if record is not None:
            record.ready_asked_at = self._world.now()
            if event.ready and self._may_fail_back() and self._way_back.is_fit(self._higher(), record):
                self._move(record, event.link, Reason.FAILBACK)

    def _scouted(self, event: AddressesVerified) -> None:
        record = self.records[event.index]
        here = record.link
        is_of_use = here is not None and not self._standbys.is_draining(here) and event.link.is_connected()
        if here is None or not is_of_use or not self._is_at_rest() or not has_moved(record, event):
            self._standbys.discard(event.link)
        elif here is self.active:
            self._move(record, event.link, Reason.DNS, replacing=here)
        else:
            record.replaced(event.link, self._world.now())
            self._standbys.discard(here)

    def _is_at_rest(self) -> bool:
        return not self._moves and self._search_now is None and self._wishes.dialled is None

    def _dial_later(self) -> None:
        """Try every cluster by and by that anybody wants: at once if nobody has yet."""
        if self.state is State.SWITCHING and self._search_now is not None:
            return  # a search has its own count of attempts
        for record in self.records:
            is_wanted = self.state is State.OFFLINE or self._standbys.is_kept(record, self.current)
            if is_wanted and record.is_forgotten:
                self._dialler.dial_later(record)
