"""What happens when the primary dies? Read here, top to bottom: the one place that decides where operations go.

The controller gets messages, one after the other on one thread, and has its ``Effects`` carry out what it decides,
without blocking; what takes time comes back as a message. Nothing here sleeps, connects or knows hazelcast.

A failover is ``_link_down`` or ``_checked``, ``_lose``, ``_suspend``, ``_begin_search``, ``_continue_search``,
``_attempt_ended``, ``_begin_switch``, ``_prepared``, ``_complete``: the order of the methods below. After a lost
connection the same cluster is tried first, ``try_count`` times; a standby waits for that, ``connect_timeout`` at most.

What a message does in each state (".": nothing, but that a link which nobody needs is closed):

message                idle           switching or offline                  connected
---------------------  -------------  ------------------------------------  -------------------------------------
Begin                  search         .                                     .
LinkDown; Checked,     .              switching: the search goes on, with   of the active one: suspend, search:
  failed too often                    the tries that are left there, then   switching; of a standby: attempt later;
                                      the next; offline: attempt later      of one being prepared: its request fails
AttemptEnded, a link   .              switching: the best cluster: prepare  keep it as a standby;
                                      it; offline: search for a moment      requested: prepare it
AttemptEnded, no link  .              switching: the next attempt, then     another attempt later; requested: after
                                      the next cluster, or none: offline;   try_count attempts its requests fail
                                      offline: attempt later, requests fail
Prepared               .              publish: connected; others that are   the same, and drain the former link;
                                      being prepared are standbys again     failback that is unfit by now: dropped
Prepared, but failed   .              as LinkDown                           the request fails; attempt later
Drained                .              keep as a standby, or close           the same
SwitchRequest          queue, search  queue; offline: connect, prepare      queue until at rest; already there: done;
                                                                            else connect if need be, prepare
Resolved               keep           keep; foreign addresses: verify them  the same
                                      if there is a link to the cluster
AddressesVerified      .              .                                     foreign twice: prepare; of a standby:
                                                                            replace its link
ReadyAnswered          .              .                                     yes: prepare (failback)
(time, and after       .              attempts, lookups; slow to prepare:   attempts, lookups; failback due:
  every message)                      try other clusters as well            ask the ready check, prepare

"idle": nothing has connected yet. "switching": operations wait. "offline": they fail at once. "closed" takes no message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ClientShutDown
from ..events import Reason
from ..options import Options
from ..status import ClientStatus, State
from .active_link import ActiveLink, PendingSwitch, PendingSwitches
from .cluster import ClusterRecord
from .connect_scheduler import ConnectScheduler
from .effects import Effects, LinkView
from .event_publisher import EventPublisher
from .messages import (
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
from .planned_switches import PlannedSwitches
from .requests import RequestQueue
from .search import Search
from .standbys import Standbys


class FailoverController:
    """Decides every switch. All of it belongs to one thread.

    :param records: the clusters in order of priority
    :param options: the client's options, with ``try_count`` filled in
    :param effects: carries decisions out
    :param worker: id of this process
    """

    def __init__(
        self, records: Sequence[ClusterRecord], options: Options, effects: Effects, worker: str
    ) -> None:
        self.records = records
        self.state = State.IDLE
        self.active = ActiveLink()
        self._options = options
        self._effects = effects
        self._worker = worker
        self._tries = options.try_count or 3
        self._search: Search | None = None
        self._searched_at = 0.0  # when the clusters were last looked at for it
        self._switches = PendingSwitches()
        self._requests = RequestQueue()
        self._scheduler = ConnectScheduler(options, effects)
        self._standbys = Standbys(records, options, effects)
        self._events = EventPublisher(records, effects)
        self._planned = PlannedSwitches(
            records=records,
            options=options,
            effects=effects,
            active=self.active,
            requests=self._requests,
            scheduler=self._scheduler,
            standbys=self._standbys,
            begin_switch=self._begin_switch,
            is_at_rest=self._is_at_rest,
        )
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Begin: lambda _: self._begin(),
            LinkDown: self._link_down,
            Checked: self._checked,
            AttemptEnded: self._attempt_ended,
            Prepared: self._prepared,
            Drained: self._drained,
            SwitchRequest: self._requested,
            ReadyAnswered: self._planned.ready_answered,
            Resolved: self._planned.resolved,
            AddressesVerified: self._planned.addresses_verified,
        }

    def handle(self, message: Message | None = None) -> None:
        """Take one message in, or none when only time has passed, and do what is due."""
        if message is not None:
            self._handlers[type(message)](message)
        if self.state is not State.IDLE:
            self._do_what_is_due()
        self._effects.set_status(self.status())
        self._requests.notify()

    def next_due(self) -> float | None:
        """When something is due although no message comes, monotonic seconds."""
        due = [at for record in self.records for at in (record.attempts.due_at, record.dns.due_at)]
        if self._search is not None:
            due.append(self._switches.slow_at())
            if self._switches.current is None:
                due += [at for at in self._search.wait_ends(self.records) if at > self._searched_at]
        due += self._planned.due()
        return min((at for at in due if at is not None and at < math.inf), default=None)

    def status(self) -> ClientStatus:
        """How things stand."""
        active = self.active.link
        current = self.active.cluster if active is not None else None
        return ClientStatus(
            worker=self._worker,
            state=self.state,
            current_cluster=current.label if current else None,
            current_index=current.index if current else None,
            on_primary=current is not None and current.index == 0,
            epoch=self.active.epoch,
            clusters=tuple(record.status(active) for record in self.records),
            history=tuple(self._events.history),
        )

    def close(self, make_error: Callable[[], Exception] = ClientShutDown) -> None:
        """Fail every request that is not done: nothing more will happen.

        :param make_error: makes the error for each
        """
        self.state = State.CLOSED
        self.active.link = None
        self._effects.set_status(self.status())
        self._requests.close([switch.request for switch in self._switches.all()], make_error)

    # A cluster is lost: operations wait, and a search begins.

    def _begin(self) -> None:
        if self.state is State.IDLE:
            self._suspend(Reason.CONNECTION_LOST, self._effects.now())
            self._begin_search(Search.thorough(self.records, self._tries, self._options))

    def _link_down(self, message: LinkDown) -> None:
        record = self._standbys.record_of(message.link)
        if record is not None:
            self._lose(record, message.link, Reason.CONNECTION_LOST, "the connection was lost")
        elif (switch := self._switches.to(message.link)) is not None:
            self._fail(switch, "the connection was lost")

    def _checked(self, message: Checked) -> None:
        record = self._standbys.record_of(message.link)
        if record is None:
            return
        record.checked(message.failures, message.latency, self._effects.now())
        others = [other.health for other in self.records if other is not record]
        why = record.health.loss(others, self._options.health_check_failures)
        if why is not None:
            since = record.health.failing_since()
            self._lose(record, message.link, Reason.HEALTH_CHECK, why, since)

    def _lose(
        self, record: ClusterRecord, link: LinkView, reason: Reason, why: str, since: float | None = None
    ) -> None:
        """Take a cluster for lost, ``since`` the first sign of it (monotonic seconds), now if ``None``."""
        now = self._effects.now()
        since = now if since is None else since
        record.lost(why, since, now)
        was_active = link is self.active.link
        if was_active:
            self._suspend(reason, since)
        self._standbys.close(link)
        self._events.lost(record, was_active, reason)
        for switch in self._switches.all():
            if link in (switch.link, switch.replacing):
                self._fail(switch, why)
        if was_active:
            others = [other for other in self.records if other is not record]
            # Failed checks were the tries at the lost cluster; a lost connection is tried again first.
            order = others if reason is Reason.HEALTH_CHECK else [record, *others]
            self._begin_search(Search.thorough(order, self._tries, self._options))
        else:
            self._retry_later()

    def _suspend(self, reason: Reason, since: float) -> None:
        self.active.suspend(reason, since)
        self.state = State.SWITCHING
        self._effects.set_status(self.status())
        self._effects.suspend()

    # A search connects to clusters, takes the best, or ends with none.

    def _begin_search(self, search: Search) -> None:
        self._requests.requeue()
        for record in self.records:
            record.begin_search(self._effects.now())
        self._search = search
        self._continue_search()

    def _continue_search(self) -> None:
        search = self._search
        if search is None or self._switches.current is not None:
            return
        self._searched_at = self._effects.now()
        step = search.step(self.records, self._switches.slow_clusters(), self._searched_at)
        for record in step.connect:
            self._scheduler.start(record)
        if step.found is not None and step.found.link is not None:
            self._begin_switch(
                PendingSwitch(step.found.link, step.found, self.active.loss, self._effects.now())
            )
        elif step.is_over:
            self._go_offline()

    def _go_offline(self) -> None:
        self._search = None
        self.state = State.OFFLINE
        self._effects.set_status(self.status())
        self._effects.go_offline(self._events.why_offline())
        self._retry_later()
        self._events.exhausted()

    def _attempt_ended(self, message: AttemptEnded) -> None:
        record, link = self.records[message.index], message.link
        is_wanted = record.attempts.number == message.attempt
        why = message.why if link is None else record.connection.unusable(link)
        if link is not None and (not is_wanted or why):
            self._standbys.close(link)
        if not is_wanted:
            return
        if link is None or why:
            self._attempt_failed(record, why, refusing=message.refusing)
            return
        if message.preferred is not None and self._search is not None and self.active.epoch == 0:
            self._search = self._search.preferring(message.preferred)
        self._connected(record, link)

    def _attempt_failed(self, record: ClusterRecord, why: str, *, refusing: bool) -> None:
        record.attempt_failed(why, refusing=refusing)
        if self.state is State.OFFLINE and self._switches.current is None:
            self._effects.go_offline(self._events.why_offline())  # it may be another reason by now
        is_searched = self._search is not None and self._search.may_connect(record)
        is_requested = self._requests.is_connecting(record)
        tries_left = record.attempts.failed < self._tries and self.state is not State.OFFLINE
        if tries_left and (is_searched or is_requested):
            self._scheduler.retry_soon(record)
        else:
            self._retry_later()
            if is_requested:
                self._requests.fail_connecting(record.label, why)
        self._continue_search()

    def _connected(self, record: ClusterRecord, link: LinkView) -> None:
        record.connected(link, self._effects.now())
        request = self._requests.connecting
        if request is not None and request.index == record.index:
            self._requests.connecting = None
            self._begin_switch(PendingSwitch(link, record, request.reason, self._effects.now(), request))
        elif self._search is not None:
            self._continue_search()
        elif self.state is State.OFFLINE:
            # See for a moment whether it is the best there is.
            self._begin_search(Search.quick(self.records, self._options))
        elif not self._standbys.is_kept(record, self.active.cluster):
            self._standbys.close_cluster(record)
        else:
            self._events.connected(record, self.active.link)

    # A switch: a link is prepared, then published, and the former one is drained.

    def _begin_switch(self, switch: PendingSwitch) -> None:
        self._switches.current = switch
        self._effects.prepare(switch.link)

    def _prepared(self, message: Prepared) -> None:
        switch = self._switches.to(message.link)
        if switch is None:
            return
        has_relapsed = not self._planned.is_fit(switch.record)
        if message.why is not None:
            self._fail(switch, message.why)
            if switch.record.link is switch.link:
                self._lose(switch.record, switch.link, Reason.CONNECTION_LOST, message.why)
            self._continue_search()
        elif switch.reason is Reason.FAILBACK and self.active.link is not None and has_relapsed:
            self._fail(switch, "a health check failed meanwhile")
            self._effects.drain(switch.link)
        else:
            for other in [other for other in self._switches.all() if other is not switch]:
                self._fail(other, f"{switch.record.label} was ready first")
                other.record.passed_over(f"its listeners took long, so {switch.record.label} was taken")
                self._standbys.drain(other.link)
            self._complete(switch)

    def _fail(self, switch: PendingSwitch, why: str) -> None:
        self._switches.end(switch)
        if switch.replacing is not None:
            self._standbys.close(switch.link)
        if switch.request is not None:
            self._requests.fail(switch.request, switch.record.label, why)

    def _complete(self, switch: PendingSwitch) -> None:
        now, record, former = self._effects.now(), switch.record, self.active.link
        since = self.active.suspended_at or switch.since
        event = self.active.enter(switch, now)
        self.state = State.CONNECTED
        for better in self._search.better_than(record, self.records) if self._search else ():
            waited = now - (better.attempts.began or since)
            better.passed_over(f"no connection within {waited:.1f} s, so {record.label} was taken")
        self._search = None
        self._switches.end(switch)
        if event is not None:
            self._events.switched(event)
        if switch.request is not None:
            if record.outage.announced:
                record.connection.restarted = False  # whoever switches here on purpose has seen it
            self._requests.complete(switch.request)
        self._standbys.publish(switch.link, self.status())
        if former is not None:
            self._standbys.drain(former)
        self._events.published(record, switch.link, event)
        self._standbys.close_unused(record)
        self._retry_later()

    def _drained(self, message: Drained) -> None:
        self._standbys.drained(message, self.active.cluster, [switch.link for switch in self._switches.all()])
        self._retry_later()

    def _requested(self, request: SwitchRequest) -> None:
        self._requests.add(request)
        self._begin()

    # Time: attempts, lookups, and planned switches.

    def _do_what_is_due(self) -> None:
        now = self._effects.now()
        for record in self.records:
            if record.attempts.due_at is not None and record.attempts.due_at <= now:
                self._scheduler.start(record)
            if record.dns.due_at is not None and record.dns.due_at <= now:
                record.dns.due_at = None
                self._effects.resolve(record.index)
        if self._search is not None and now >= self._switches.slow_at():
            self._switches.set_aside()
        self._continue_search()
        self._planned.begin_next()

    def _is_at_rest(self) -> bool:
        return not self._switches and self._search is None and self._requests.connecting is None

    def _retry_later(self) -> None:
        """Have every cluster connected to, after a pause, that is wanted and has neither link nor attempt."""
        if self.state is State.SWITCHING and self._search is not None:
            return  # a search has its own count of attempts
        for record in self.records:
            is_wanted = self.state is State.OFFLINE or self._standbys.is_kept(record, self.active.cluster)
            if is_wanted and record.is_unattended:
                self._scheduler.retry_later(record)
