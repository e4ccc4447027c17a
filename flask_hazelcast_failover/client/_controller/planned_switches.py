"""Switches that no loss forces: a requested one, failback, and a name that leads to another cluster.

Each begins when nothing else is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..events import Reason
from ..options import Failback, Options
from .active_link import ActiveLink, PendingSwitch
from .cluster import ClusterRecord
from .connect_scheduler import ConnectScheduler
from .dns_tracking import DnsTracker
from .effects import Effects, LinkView
from .failback import FailbackPolicy
from .messages import AddressesVerified, ReadyAnswered, Resolved, SwitchRequest
from .requests import RequestQueue
from .standbys import Standbys


@dataclass(kw_only=True)
class PlannedSwitches:
    """Begins a switch that is requested or due. Of the controller's thread, like the parts that it is given.

    :param begin_switch: begins to prepare a link, so that operations go there
    :param is_at_rest: whether no search, no switch and no requested attempt is under way
    """

    records: Sequence[ClusterRecord]
    options: Options
    effects: Effects
    active: ActiveLink
    requests: RequestQueue
    scheduler: ConnectScheduler
    standbys: Standbys
    begin_switch: Callable[[PendingSwitch], None]
    is_at_rest: Callable[[], bool]

    def __post_init__(self) -> None:
        self._failback = FailbackPolicy(self.options, self.effects)
        self._dns = DnsTracker(self.effects)

    def begin_next(self) -> None:
        """Begin what is requested, else a failback that is due."""
        while self.is_at_rest() and (request := self.requests.take()) is not None:
            self._serve(request)
        if self._may_fail_back():
            target = self._failback.target(self.active.higher(self.records))
            if target is not None and target.link is not None:
                self._begin(target, target.link, Reason.FAILBACK)

    def due(self) -> list[float]:
        """When a failback may be due, monotonic seconds."""
        return self._failback.due(self.active.higher(self.records)) if self._may_fail_back() else []

    def is_fit(self, record: ClusterRecord) -> bool:
        """Whether a cluster still is one to return to."""
        return self._failback.is_fit(self.active.higher(self.records), record)

    def ready_answered(self, message: ReadyAnswered) -> None:
        """The ready check has answered: return to its cluster if it says yes."""
        record = self.standbys.record_of(message.link)
        if record is not None:
            self._failback.answered(record)
            if message.ready and self._may_fail_back() and self.is_fit(record):
                self._begin(record, message.link, Reason.FAILBACK)

    def resolved(self, message: Resolved) -> None:
        """DNS has answered."""
        self._dns.resolved(self.records[message.index], message)

    def addresses_verified(self, message: AddressesVerified) -> None:
        """A link was opened to where a name leads: follow it if that are other members, twice in a row."""
        record, link = self.records[message.index], message.link
        former = record.link
        is_replaceable = former is not None and not self.standbys.is_draining(former)
        is_usable = is_replaceable and link.is_connected() and self.is_at_rest()
        if former is None or not is_usable or not self._dns.has_moved(record, message):
            self.standbys.close(link)
        elif former is self.active.link:
            self._begin(record, link, Reason.DNS, replacing=former)
        else:
            record.replaced(link, self.effects.now())
            self.standbys.close(former)

    def _serve(self, request: SwitchRequest) -> None:
        record = self.records[request.index]
        if record.link is not None and record.link is self.active.link:
            self.requests.complete(request)
        elif record.link is not None:
            self._begin(record, record.link, request.reason, request)
        else:
            self.requests.connecting = request
            record.begin_search(self.effects.now())
            if record.attempts.number is None:
                self.scheduler.start(record)

    def _may_fail_back(self) -> bool:
        is_allowed = self.options.failback is Failback.AUTO and not self.requests.holds
        return is_allowed and self.active.link is not None and self.is_at_rest()

    def _begin(
        self,
        record: ClusterRecord,
        link: LinkView,
        reason: Reason,
        request: SwitchRequest | None = None,
        replacing: LinkView | None = None,
    ) -> None:
        self.begin_switch(PendingSwitch(link, record, reason, self.effects.now(), request, replacing))
