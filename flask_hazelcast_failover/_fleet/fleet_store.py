"""The fleet's maps on all clusters together.

All clusters are queried at once, and their answers are waited for together. A cluster with a pending read is
skipped, so that a frozen one cannot delay a switch away from it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hazelcast.future import Future

from .._foreign_text import is_name, printable
from ..client.control import OfficialClient, wait_for_all
from .cluster_store import ARRIVED, ClusterStore, StoreSnapshot, map_name
from .records import Desired, ReachabilityQuestion, WorkerRecord

_logger = logging.getLogger("flask_hazelcast_failover.fleet")

# How long the desired state outlives the workers of a server, seconds. That of a named fleet stays.
_SERVER_TTL = 600
# Within this many seconds, workers that arrive on a cluster belong to the same switch.
_SWITCH_TTL = 30
# How old a snapshot may be, seconds.
_MAX_AGE = 3.0
# How long the others are waited for once one cluster has answered, seconds.
_GRACE = 0.2
# Of how many entries that cannot be read the log is told.
_MAX_WARNED = 100


class FleetStore:
    """The maps of one fleet. Used by one thread, except for :meth:`remove_record`.

    :param fleet: name of the fleet
    :param is_named: whether the name was configured, so that the fleet outlives this server
    :param on_change: called when the desired state changes or a question is added; must not wait
    """

    def __init__(self, fleet: str, is_named: bool, on_change: Callable[[], None]) -> None:
        self._name = map_name(fleet)
        self._ttl = 0 if is_named else _SERVER_TTL
        self._on_change = on_change
        self._renewed_at = time.monotonic()
        self._stores: dict[str, ClusterStore] = {}  # by label; replaced as a whole
        self._warned: set[str] = set()  # keys of entries that cannot be read

    def use(self, clients: Mapping[str, OfficialClient]) -> None:
        """Have a store for each of these connections and for no other."""
        stores: dict[str, ClusterStore] = {}
        for label, client in clients.items():
            known = self._stores.get(label)
            if known is not None and known.client is client:
                stores[label] = known
                continue
            try:
                stores[label] = ClusterStore(client, self._name, self._on_change)
            except Exception as error:
                _logger.debug("no fleet store on %s: %s", label, error)
        self._stores = stores

    def read(self, timeout: float) -> list[StoreSnapshot]:
        """The snapshots of the clusters that answer within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        stores = self._stores.values()
        wait_for_all(_start(stores, ClusterStore.open), end)
        _start(stores, ClusterStore.open)  # finishes those whose proxies are created now
        wait_for_all(_start(stores, ClusterStore.start_read), end, _GRACE)
        now = time.monotonic()
        _start(stores, lambda store: store.finish_read(now))
        self._warn_of_unreadable()
        snapshots = [store.snapshot for store in stores]
        return [snapshot for snapshot in snapshots if snapshot is not None and now - snapshot.at < _MAX_AGE]

    def _warn_of_unreadable(self) -> None:
        for label, store in self._stores.items():
            for key, why in store.snapshot.unreadable.items() if store.snapshot is not None else ():
                if key not in self._warned and len(self._warned) < _MAX_WARNED:
                    self._warned.add(key)
                    message = "%s on %s: the entry %s is ignored: %s"
                    _logger.warning(message, printable(self._name), label, key, why)

    def put_record(self, record: WorkerRecord, now: float) -> None:
        """Write this worker's record on every cluster."""
        _start(self._stores.values(), lambda store: store.put_record(record, now))

    def remove_record(self, worker: str, timeout: float) -> None:
        """Remove this worker's record from every cluster."""
        removed = _start(self._stores.values(), lambda store: store.remove_record(worker))
        wait_for_all(removed, time.monotonic() + timeout)

    def write_desired(self, desired: Desired, timeout: float) -> bool:
        """Write the desired state on every cluster that has an older one; false if another worker was faster."""
        end = time.monotonic() + timeout
        behind = [store for store in self._stores.values() if store.is_behind(desired)]
        # The first one on its own: of two workers that write at once, one finds out there that it came second.
        for stores in (behind[:1], behind[1:]):
            written = _start(stores, lambda store: store.write_desired(desired, self._ttl))
            wait_for_all(written, end)
            if any(_result(future) is False for future in written):
                return False
        return True

    def renew_desired(self, now: float) -> None:
        """Keep the desired state alive as long as there are workers."""
        if self._ttl and now - self._renewed_at > self._ttl / 10:
            self._renewed_at = now
            _start(self._stores.values(), lambda store: store.renew_desired(self._ttl))

    def put_question(self, question: ReachabilityQuestion) -> None:
        """Write a question on every cluster."""
        _start(self._stores.values(), lambda store: store.put_question(question))

    def clear_arrival(self, label: str) -> None:
        """End the switch to a cluster: all workers have arrived."""
        if label in self._stores:
            _start([self._stores[label]], ClusterStore.clear_arrival)


def read_once(client: OfficialClient, fleet: str, timeout: float) -> StoreSnapshot:
    """Read a fleet's map over a connection that has no store yet.

    :param timeout: seconds; raises ``TimeoutError`` after that
    """
    end = time.monotonic() + timeout
    (fleet_map,) = _results([client.create_plain_map(map_name(fleet))], end)
    (entries,) = _results([fleet_map.entry_set()], end)
    return StoreSnapshot(entries, time.monotonic())


def claim_arrival(
    clients: Mapping[str, OfficialClient], label: str, fleet: str, worker: str, timeout: float
) -> bool | None:
    """Whether this worker is the first of its fleet to arrive on a cluster; ``None`` if that cannot be found out.

    Over connections that may have no store yet, from any thread.

    :param worker: id of this worker: if it was the first of the last switch, it is so again
    :param timeout: seconds
    """
    end = time.monotonic() + timeout
    name = map_name(fleet)
    try:
        (fleet_map,) = _results([clients[label].create_plain_map(name)], end)
        claim = f"{worker} {uuid.uuid4().hex}"
        (earlier,) = _results([fleet_map.put_if_absent(ARRIVED, claim, ttl=_SWITCH_TTL)], end)
        is_first = earlier is None or _is_own(earlier, worker)
        if not is_first and not is_name(earlier):
            (is_first,) = _results([fleet_map.replace_if_same(ARRIVED, earlier, claim)], end)
        if is_first:
            # The first to go back to where the fleet came from counts as first again.
            for other in clients.keys() - {label}:
                clients[other].create_plain_map(name).add_done_callback(_clear_arrival)
    except Exception as error:
        _logger.debug("cannot find out who arrived first on %s: %s", label, error)
        return None
    return is_first


def _is_own(arrival: object, worker: str) -> bool:
    return isinstance(arrival, str) and arrival.startswith(f"{worker} ")


def _clear_arrival(opened: Future[Any]) -> None:
    try:
        opened.result().delete(ARRIVED)
    except Exception as error:
        _logger.debug("could not clear an arrival: %s", error)


def _start(
    stores: Iterable[ClusterStore], operation: Callable[[ClusterStore], Future[Any] | None]
) -> list[Future[Any]]:
    """Start an operation on each store; one that fails, such as that of a lost cluster, is left out."""
    started = []
    for store in stores:
        try:
            future = operation(store)
        except Exception as error:
            _logger.debug("a fleet store failed: %s", error)
        else:
            started += [] if future is None else [future]
    return started


def _results(futures: Sequence[Future[Any]], end: float) -> list[Any]:
    """The results of all futures. Raises ``TimeoutError`` if one is not done at ``end``, monotonic seconds."""
    wait_for_all(futures, end)
    if not all(future.done() for future in futures):
        raise TimeoutError("no answer in time")
    return [future.result() for future in futures]


def _result(future: Future[Any]) -> Any | None:
    """The result; ``None`` if the operation failed or is pending."""
    try:
        return future.result() if future.done() else None
    except Exception as error:
        _logger.debug("a fleet store did not answer: %s", error)
        return None
