"""The controller's effects on scripted clusters. What the controller may not ask for fails right there."""

from __future__ import annotations

from collections import Counter, deque

from flask_hazelcast_failover.client._controller.effects import LinkView
from flask_hazelcast_failover.client._controller.messages import (
    AddressesVerified,
    AttemptEnded,
    Checked,
    Drained,
    LinkDown,
    Message,
    Prepared,
    ReadyAnswered,
    Resolved,
    SwitchRequest,
)
from flask_hazelcast_failover.client._known_cluster import KnownCluster
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client.events import Event, Reason
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.client.status import ClientStatus, State
from tests.support.scripted_clock import ScriptedClock
from tests.support.scripted_clusters import QUICK, Mode, ScriptedCluster, ScriptedLink, scripted

__all__ = ["ScriptedEffects"]


class ScriptedEffects(ScriptedClock):
    """A fake for ``Effects``: posts the messages that real clusters in the same state would cause."""

    def __init__(self, clusters: list[ScriptedCluster], options: Options, creep: float = 0.0) -> None:
        super().__init__(creep)
        self.clusters = clusters
        self.options = options
        self.luck = 0.5  # what random() gives
        self.posted: deque[Message] = deque()
        self.links: list[ScriptedLink] = []
        self.active: ScriptedLink | None = None
        self.state = State.IDLE
        self.preparing: ScriptedLink | None = None
        self.slow: list[ScriptedLink] = []  # prepared for so long that others are tried as well
        self.draining: Counter[ScriptedLink] = Counter()
        self.epoch = 0
        self.events: list[Event] = []
        self.attempts: list[tuple[float, int]] = []
        self.attempts_in_search: Counter[int] = Counter()  # at each cluster since operations had to wait
        self.ended: dict[int, tuple[float, bool]] = {}  # when an attempt or a link ended, and whether refused
        self.offline_since = 0.0
        self.status: ClientStatus | None = None
        self.requests: list[SwitchRequest] = []
        self.route = Route(lambda: None, lambda: "scripted")  # the real one, for those who wait
        self._preparing_since = 0.0
        for cluster in clusters:
            cluster.replace_members()

    # What the script does.

    def set_mode(self, index: int, mode: Mode) -> None:
        """Change how a cluster behaves."""
        self.clusters[index].mode = mode
        if mode in (Mode.ABSENT, Mode.REFUSING):
            self.cut(index)

    def restart(self, index: int) -> None:
        """Have a cluster come back empty at the same addresses."""
        self.cut(index)
        self.clusters[index].restart_members()

    def cut(self, index: int) -> None:
        """Close every connection to a cluster."""
        for link in self.links:
            if link.index == index:
                self.disconnect(link)

    def disconnect(self, link: ScriptedLink) -> None:
        """Close a connection."""
        if link.is_open:
            link.is_open = False
            self.posted.append(LinkDown(link))

    def check_health(self) -> None:
        """Run a round of health checks over every open link."""
        for link in [link for link in self.links if link.is_open]:
            cluster = self.clusters[link.index]
            link.fail_checks(len(link.known) if cluster.mode is Mode.SILENT else cluster.failing, self.time)
            latency = None if len(link.failures) == len(link.known) else 0.001
            self.posted.append(Checked(link, link.failures, latency))

    def request(self, index: int, *, holds: bool, reason: Reason = Reason.MANUAL) -> SwitchRequest:
        """Request a switch."""
        request = SwitchRequest(index, reason, holds)
        self.requests.append(request)
        self.posted.append(request)
        return request

    @property
    def live(self) -> list[ScriptedLink]:
        """Links that were opened and not closed by the controller yet."""
        return [link for link in self.links if not link.is_closed]

    # What the controller asks for.

    def random(self) -> float:
        return self.luck

    def start_attempt(self, index: int, attempt: int, known: KnownCluster | None) -> None:
        assert not self.pending("attempt", index), f"two attempts at {index} at once"
        began = self.time
        self.attempts.append((began, index))
        self.attempts_in_search[index] += 1

        def end() -> bool:
            link, why, refusing = self.connect(index, began)
            if link is None and not why:
                return False
            self.ended[index] = self.time, refusing
            self.posted.append(AttemptEnded(index, attempt, link, why, refusing))
            return True

        self._look_up(index)
        self.begin("attempt", index, self._attempt_time(index), end)

    def verify_addresses(self, index: int, own_answers: int) -> None:
        began = self.time

        def end() -> bool:
            link, why, _ = self.connect(index, began)
            if link is not None:
                self.posted.append(AddressesVerified(index, link, own_answers))
            return link is not None or bool(why)

        self.begin("verify", index, self._attempt_time(index), end)

    def resolve(self, index: int) -> None:
        def end() -> bool:
            self._look_up(index)
            return True

        self.begin("resolve", index, QUICK, end)

    def prepare(self, link: LinkView) -> None:
        link = scripted(link)
        if self.preparing is not None:
            assert self.time >= self._preparing_since + 30.0, f"two switches: to {self.preparing} and {link}"
            self.slow.append(self.preparing)
        self._preparing_since = self.time
        assert not link.is_closed, f"a switch to {link}, which was closed"
        self.preparing = link

        def end() -> bool:
            link.is_prepared = self.clusters[link.index].registers
            self.posted.append(
                Prepared(link, None if link.is_prepared else "its listeners cannot be registered")
            )
            return True

        self.begin("prepare", link.index, self.clusters[link.index].prepare_time, end, link)

    def ask_ready(self, link: LinkView) -> None:
        link = scripted(link)
        assert not any(task.link is link for task in self.pending("ready")), "asked twice at once"

        def end() -> bool:
            self.posted.append(ReadyAnswered(link, self.clusters[link.index].ready))
            return True

        self.begin("ready", link.index, QUICK, end, link)

    def suspend(self) -> None:
        assert self.state is not State.SWITCHING, "a search while there is one"
        self.active, self.state = None, State.SWITCHING
        self.route.suspend()
        self.attempts_in_search = Counter(task.index for task in self.pending("attempt"))

    def publish(self, link: LinkView, status: ClientStatus) -> None:
        link = scripted(link)
        self.set_status(status)
        assert not link.is_closed, f"operations go to {link}, which was closed"
        assert link in (self.preparing, *self.slow) and link.is_prepared, f"{link} was not prepared"
        assert link.is_open or LinkDown(link) in self.posted, f"{link} is known to be down"
        assert link.epoch == self.epoch + 1, f"epoch {link.epoch} after {self.epoch}"
        self.epoch = link.epoch
        self.active, self.state = link, State.CONNECTED
        self._end_switch(link)
        assert self.preparing is None and not self.slow, "a switch that goes on beside this one"
        self.route.publish(link)  # type: ignore[arg-type]
        link.is_prepared = False

    def go_offline(self, why: str) -> None:
        assert self.preparing is None and not self.slow
        assert all(cluster.label in why for cluster in self.clusters)
        if self.state is not State.OFFLINE:
            self.offline_since = self.time
        self.active, self.state = None, State.OFFLINE
        self.route.offline(why)

    def drain(self, link: LinkView) -> None:
        link = scripted(link)
        assert link is not self.active and not link.is_closed
        if link in (self.preparing, *self.slow):
            link.is_prepared = False
        self._end_switch(link)
        self.draining[link] += 1
        epoch, began, timeout = link.epoch, self.time, self.options.drain_timeout

        def end() -> bool:
            if self.time < began + timeout and self._busy(link) and link.epoch == epoch:
                return False
            self.posted.append(Drained(link, epoch, self._busy(link)))
            return True

        self.begin("drain", link.index, timeout if self._busy(link) else QUICK, end, link)

    def close(self, link: LinkView) -> None:
        link = scripted(link)
        assert not link.is_closed, f"{link} closed twice"
        assert link is not self.active, f"{link} is in use"
        link.is_closed = True
        self.ended[link.index] = self.time, False
        self.disconnect(link)
        self._end_switch(link)

    def set_status(self, status: ClientStatus) -> None:
        self.status = status

    def announce(self, event: Event, why: str = "") -> None:
        self.events.append(event)

    # What comes of it.

    def connect(self, index: int, began: float) -> tuple[ScriptedLink | None, str, bool]:
        """What an attempt that began then has come to: a link, or why not and whether it was refused."""
        cluster = self.clusters[index]
        if cluster.mode is Mode.SILENT:
            is_over = self.time >= began + self.options.connect_timeout
            return None, "timed out" if is_over else "", False
        if cluster.mode is not Mode.UP:
            refusing = cluster.mode is Mode.REFUSING
            return None, "bad credentials" if refusing else "refused", refusing
        addresses = frozenset(cluster.addresses)
        link = ScriptedLink(index, cluster.members, addresses, len(self.links), self.time)
        self.links.append(link)
        return link, "", False

    def _end_switch(self, link: ScriptedLink) -> None:
        if link in self.slow:
            self.slow.remove(link)
        if self.preparing is link:
            self.preparing = None

    def _attempt_time(self, index: int) -> float:
        return self.options.connect_timeout if self.clusters[index].mode is Mode.SILENT else QUICK

    def _look_up(self, index: int) -> None:
        cluster = self.clusters[index]
        if cluster.is_dns:
            self.posted.append(Resolved(index, cluster.addresses, cluster.dns_error))

    def _busy(self, link: ScriptedLink) -> int:
        return self.clusters[link.index].busy if link.is_open else 0
