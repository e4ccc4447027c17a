"""A world for the controller in which everything is said by a script: the clock, the clusters, what ends when.

What the controller must never ask for fails right where it does.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from hazelcast.errors import HazelcastClientNotActiveError

from flask_hazelcast_failover.client._controller.cluster import Failures, LinkView
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
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.invariants import Story

# How long what a living cluster does takes, seconds.
_QUICK = 0.01


class Mode(Enum):
    """How a cluster behaves."""

    UP = "answers"
    ABSENT = "nobody listens, and what was open is closed"
    REFUSING = "turns us away, and what was open is closed"
    SILENT = "neither answers nor closes anything"


@dataclass
class ScriptedCluster:
    """One cluster, as the script has it."""

    label: str
    mode: Mode = Mode.UP
    members: frozenset[UUID] = frozenset()
    addresses: tuple[str, ...] = ()
    failing: int = 0  # how many members fail their checks
    carries: bool = True  # whether listeners can be registered
    carry_time: float = _QUICK  # how long that takes, seconds
    ready: bool = True  # what the ready check says
    busy: int = 0  # operations that do not end
    dns_error: str | None = None


@dataclass(eq=False)
class ScriptedLink:
    """One connection of the controller's."""

    index: int
    known: frozenset[UUID]
    places: frozenset[str]
    number: int
    epoch: int = 0
    data_id: int = 0
    visit_id: int = 0
    is_open: bool = True
    is_discarded: bool = False
    is_prepared: bool = False
    opened_at: float = 0.0
    failed_at: float | None = None  # when checks of it failed last
    failures: dict[UUID, Failures] = field(default_factory=dict)  # failed checks in a row

    def members(self) -> frozenset[UUID]:
        return self.known

    def member_addresses(self) -> frozenset[str]:
        return self.places

    def known_cluster(self) -> KnownCluster:
        return KnownCluster(UUID(int=self.index), self.places)

    def is_connected(self) -> bool:
        return self.is_open

    def __repr__(self) -> str:
        return f"<link {self.number} to {self.index}>"


@dataclass(eq=False)
class Task:
    """Something under way: it ends when its time has come, or when the script says."""

    what: str
    index: int
    due: float
    end: Callable[[], bool]  # false: not yet
    link: ScriptedLink | None = None

    def __repr__(self) -> str:
        return f"<{self.what} at {self.index}, due {self.due:.3f}>"


@dataclass(eq=False)
class Asked:
    """A wish and its answers: one in the end."""

    wish: SwitchRequest
    answers: list[Exception | None]


class ScriptedWorld:
    """The controller's world. What the controller may not ask for fails right there.

    :param creep: seconds that pass at each look at the clock, as on a slow machine
    """

    def __init__(self, clusters: list[ScriptedCluster], options: Options, creep: float = 0.0) -> None:
        self.clusters = clusters
        self.options = options
        self.time = 100.0
        self.luck = 0.5
        self.posted: deque[Message] = deque()
        self.tasks: list[Task] = []
        self.links: list[ScriptedLink] = []
        self.route: ScriptedLink | None = None
        self.state = State.IDLE
        self.moving: ScriptedLink | None = None
        self.moving_since = 0.0
        self.slow: list[ScriptedLink] = []  # made ready for so long that others are tried as well
        self.draining: Counter[ScriptedLink] = Counter()
        self.epoch = 0
        self.held = False
        self.events: list[Event] = []
        self.dials: list[tuple[float, int]] = []
        self.in_search: Counter[int] = Counter()  # attempts at each cluster since operations had to wait
        self.ended: dict[int, tuple[float, bool]] = {}  # when an attempt or a link ended, and whether refused
        self.offline_since = 0.0
        self.shown: ClientStatus | None = None
        self.asked: list[Asked] = []
        self.gate = Route(lambda: None, lambda: "scripted")  # the real one, for those who wait
        self._creep = creep
        self._uuids = itertools.count(1)
        self._story = Story(self)
        for cluster in clusters:
            self.settle_members(cluster)

    # What the script does.

    def settle_members(self, cluster: ScriptedCluster, count: int = 3) -> None:
        """Give a cluster members that were never there before."""
        numbers = [next(self._uuids) for _ in range(count)]
        cluster.members = frozenset(UUID(int=number) for number in numbers)
        cluster.addresses = tuple(f"10.0.0.{number}:5701" for number in numbers)

    def set_mode(self, index: int, mode: Mode) -> None:
        """Change how a cluster behaves."""
        self.clusters[index].mode = mode
        if mode in (Mode.ABSENT, Mode.REFUSING):
            self.cut(index)

    def restart(self, index: int) -> None:
        """Have a cluster come back empty at the same addresses."""
        self.cut(index)
        cluster = self.clusters[index]
        cluster.members = frozenset(UUID(int=next(self._uuids)) for _ in cluster.members)
        cluster.mode = Mode.UP

    def cut(self, index: int) -> None:
        """Close every connection to a cluster."""
        for link in self.links:
            if link.index == index:
                self.close(link)

    def close(self, link: ScriptedLink) -> None:
        """Close a connection."""
        if link.is_open:
            link.is_open = False
            self.posted.append(LinkDown(link))

    def end(self, task: Task) -> bool:
        """End what is under way, if it can end by now."""
        if not task.end():
            return False
        self.tasks.remove(task)
        return True

    def pending(self, what: str, index: int | None = None) -> list[Task]:
        """What of a kind is under way."""
        return [task for task in self.tasks if task.what == what and index in (None, task.index)]

    def check_health(self) -> None:
        """Run a round of health checks over every open link."""
        for link in self.links:
            cluster = self.clusters[link.index]
            if link.is_open:
                bad = len(link.known) if cluster.mode is Mode.SILENT else cluster.failing
                failed = sorted(link.known)[:bad]
                link.failures = {m: link.failures.get(m, Failures(since=self.time)) for m in failed}
                link.failures = {m: f._replace(silent=f.silent + 1) for m, f in link.failures.items()}
                if failed:
                    link.failed_at = self.time
                latency = None if len(failed) == len(link.known) else 0.001
                self.posted.append(Checked(link, link.failures, latency))

    def wish(self, index: int, *, holds: bool, reason: Reason = Reason.MANUAL) -> Asked:
        """Want to be on a cluster."""
        answers: list[Exception | None] = []
        asked = Asked(SwitchRequest(index, reason, holds, answers.append), answers)
        self.asked.append(asked)
        self.posted.append(asked.wish)
        return asked

    @property
    def live(self) -> list[ScriptedLink]:
        """Links that were opened and not given up yet."""
        return [link for link in self.links if not link.is_discarded]

    # What the controller asks for.

    def now(self) -> float:
        self.time += self._creep
        return self.time

    def chance(self) -> float:
        return self.luck

    def dial(self, index: int, attempt: int, known: KnownCluster | None) -> None:
        assert not self.pending("attempt", index), f"two attempts at {index} at once"
        began = self.time
        self.dials.append((began, index))
        self.in_search[index] += 1

        def end() -> bool:
            link, why, refusing = self._reached(index, began)
            if link is None and not why:
                return False
            self.ended[index] = self.time, refusing
            self.posted.append(AttemptEnded(index, attempt, link, why, refusing))
            return True

        self._look_up(index)
        self._begin("attempt", index, self._patience(index), end)

    def scout(self, index: int, confirmed: int) -> None:
        began = self.time

        def end() -> bool:
            link, why, _ = self._reached(index, began)
            if link is not None:
                self.posted.append(AddressesVerified(index, link, confirmed))
            return link is not None or bool(why)

        self._begin("scout", index, self._patience(index), end)

    def resolve(self, index: int) -> None:
        def end() -> bool:
            self._look_up(index)
            return True

        self._begin("resolve", index, _QUICK, end)

    def prepare(self, link: LinkView) -> None:
        link = own(link)
        if self.moving is not None:
            assert self.time >= self.moving_since + 30.0, (
                f"two switches at once: to {self.moving} and to {link}"
            )
            self.slow.append(self.moving)
        self.moving_since = self.time
        assert not link.is_discarded, f"a move to {link}, which was given up"
        self.moving = link

        def end() -> bool:
            carries = self.clusters[link.index].carries
            link.is_prepared = carries
            self.posted.append(Prepared(link, None if carries else "its listeners cannot be registered"))
            return True

        self._begin("prepare", link.index, self.clusters[link.index].carry_time, end, link)

    def ask_ready(self, link: LinkView) -> None:
        link = own(link)
        assert not any(task.link is link for task in self.pending("ready")), "asked twice at once"

        def end() -> bool:
            self.posted.append(ReadyAnswered(link, self.clusters[link.index].ready))
            return True

        self._begin("ready", link.index, _QUICK, end, link)

    def suspend(self) -> None:
        assert self.state is not State.SWITCHING, "a search while there is one"
        self.route, self.state = None, State.SWITCHING
        self.gate.suspend()
        self.in_search = Counter(task.index for task in self.pending("attempt"))

    def publish(self, link: LinkView, status: ClientStatus) -> None:
        link = own(link)
        self.show(status)
        assert not link.is_discarded, f"operations go to {link}, which was given up"
        assert link in (self.moving, *self.slow) and link.is_prepared, (
            f"operations go to {link}, which was not prepared"
        )
        assert link.is_open or LinkDown(link) in self.posted, (
            f"operations go to {link}, which is known to be down"
        )
        assert link.epoch == self.epoch + 1, f"epoch {link.epoch} after {self.epoch}"
        self.epoch = link.epoch
        self.route, self.state = link, State.CONNECTED
        self._end_move(link)
        assert self.moving is None and not self.slow, "a move that nobody has called off"
        self.gate.publish(link)  # type: ignore[arg-type]
        link.is_prepared = False

    def offline(self, why: str) -> None:
        assert self.moving is None and not self.slow
        assert all(cluster.label in why for cluster in self.clusters)
        if self.state is not State.OFFLINE:
            self.offline_since = self.time
        self.route, self.state = None, State.OFFLINE
        self.gate.offline(why)

    def leave(self, link: LinkView) -> None:
        link = own(link)
        assert link is not self.route and not link.is_discarded
        if link in (self.moving, *self.slow):
            link.is_prepared = False
        self._end_move(link)
        self.draining[link] += 1
        epoch = link.epoch

        def end() -> bool:
            if self.time < began + self.options.drain_timeout and self._busy(link) and link.epoch == epoch:
                return False
            self.posted.append(Drained(link, epoch, self._busy(link)))
            return True

        began = self.time
        self._begin(
            "drain", link.index, self.options.drain_timeout if self._busy(link) else _QUICK, end, link
        )

    def discard(self, link: LinkView) -> None:
        link = own(link)
        assert not link.is_discarded, f"{link} given up twice"
        assert link is not self.route, f"{link} is in use"
        link.is_discarded = True
        self.ended[link.index] = self.time, False
        self.close(link)
        self._end_move(link)

    def _end_move(self, link: ScriptedLink) -> None:
        if link in self.slow:
            self.slow.remove(link)
        if self.moving is link:
            self.moving = None

    def show(self, status: ClientStatus) -> None:
        self.shown = status

    def announce(self, event: Event, why: str = "") -> None:
        self.events.append(event)
        self._story.told(event)

    def answer(self, wish: SwitchRequest, error: Exception | None) -> None:
        asked = next(asked for asked in self.asked if asked.wish is wish)
        wish.done(error)
        assert len(asked.answers) == 1, "a wish answered twice"
        if error is None:
            self.held = wish.holds
            assert self.route is not None and self.route.index == wish.index, "granted, and elsewhere"
        else:
            assert isinstance(error, (ClientOfflineException, HazelcastClientNotActiveError))

    # What comes of it.

    def _begin(
        self, what: str, index: int, lasts: float, end: Callable[[], bool], link: ScriptedLink | None = None
    ) -> None:
        self.tasks.append(Task(what, index, self.time + lasts, end, link))

    def _patience(self, index: int) -> float:
        return self.options.connect_timeout if self.clusters[index].mode is Mode.SILENT else _QUICK

    def _reached(self, index: int, began: float) -> tuple[ScriptedLink | None, str, bool]:
        cluster = self.clusters[index]
        if cluster.mode is Mode.SILENT:
            over = self.time >= began + self.options.connect_timeout
            return None, "timed out" if over else "", False
        if cluster.mode is not Mode.UP:
            refusing = cluster.mode is Mode.REFUSING
            return None, "bad credentials" if refusing else "refused", refusing
        link = ScriptedLink(index, cluster.members, frozenset(cluster.addresses), len(self.links))
        link.opened_at = self.time
        self.links.append(link)
        return link, "", False

    def _look_up(self, index: int) -> None:
        cluster = self.clusters[index]
        if self.is_dns(index):
            self.posted.append(Resolved(index, cluster.addresses, cluster.dns_error))

    def is_dns(self, index: int) -> bool:
        """Whether a cluster is found by its name."""
        return self.clusters[index].label.startswith("dns")

    def _busy(self, link: ScriptedLink) -> int:
        return self.clusters[link.index].busy if link.is_open else 0


def own(link: LinkView | None) -> ScriptedLink:
    """A link of the controller's as what it is here."""
    assert isinstance(link, ScriptedLink)
    return link
