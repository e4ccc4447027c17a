"""HazelcastClient: the official client's API over clusters that come and go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NoReturn

from hazelcast.config import Config
from hazelcast.core import DistributedObjectEvent
from hazelcast.future import Future
from hazelcast.proxy.base import Proxy

from ..failover import FailoverConfig
from ._api.failover_view import ReadOnlyFailover
from ._api.services import FollowingPartitions
from ._api.signatures import mirrors
from ._api.sql import FollowingSql
from ._api.transactions import Transactions
from ._connect.link import CLIENT, Link, on_thread
from ._official import ClientFacade
from ._operations.idempotency import Idempotency, MethodTraits
from ._operations.repeat_policy import Counters
from ._process.environment import check_environment
from ._runtime.client_runtime import ClientRuntime
from ._runtime.event_log import Receiver
from ._runtime.names import client_name, named
from .control import ClientControl
from .options import Options
from .status import ClientStatus, State

__all__ = ["HazelcastClient"]

# How long a listener for structures waits for those that were handed out before, seconds.
_STRUCTURES_TIMEOUT = 5.0


class HazelcastClient(ClientFacade):
    """The official client's methods and properties, on whichever cluster can be reached.

    It connects at ``start()`` or at the first operation. What it returns follows it from cluster to cluster.
    Besides the official API it has ``status()``, ``switch_to()``, ``reset()``, ``failover``, ``same_cluster()``
    and ``subscribe()``.

    :param config: a ``FailoverConfig``, or a ``ClientConfig`` for one cluster; it is copied
    :param options: how to fail over, see ``Options``
    :raises TypeError: for a configuration or an option of the wrong type
    :raises ValueError: for a bad value, an unknown option, or no cluster at all
    :raises RuntimeError: where it cannot work: under eventlet, or uWSGI without threads
    """

    def __init__(self, config: FailoverConfig | Config, **options: Any) -> None:
        check_environment()
        given = Options.from_mapping(options)
        self._clusters = FailoverConfig.copied_from(config, given.try_count)
        checked = named(given.with_try_count(self._clusters.try_count))
        self._runtime = ClientRuntime(self._clusters, checked)
        self._operations = self._runtime.operations
        self._failover = ReadOnlyFailover(self._clusters, self._current_index, self._runtime.describe)
        super().__init__(
            proxies=self._runtime.proxies,
            cp_proxies=self._runtime.proxies.cp,
            sql=FollowingSql(self._operations),
            transactions=Transactions(self._operations),
            clusters=self._runtime.members,
            partitions=FollowingPartitions(self._operations),
            lifecycle=self._runtime.lifecycle,
            name=client_name(checked, self._clusters),
        )

    def start(self) -> HazelcastClient:
        """Connect, and return this client.

        :raises ClientOfflineException: no cluster can be reached; the client may be started again
        :raises HazelcastClientNotActiveError: the client was shut down
        """
        self._runtime.start()
        return self

    def shutdown(self) -> None:
        """Shuts down this client for good. Takes some seconds at most, whatever state the clusters are in."""
        self._runtime.shutdown()

    def status(self) -> ClientStatus:
        """How things stand: a frozen snapshot."""
        return self._runtime.status

    def switch_to(self, label: str) -> None:
        """Switch to a cluster on purpose and stay there: no automatic failback until ``reset()``.

        Returns once new operations go there; those in flight finish where they are.

        :param label: the cluster's label
        :raises ValueError: there is no such cluster
        :raises ClientOfflineException: it cannot be reached, and nothing has changed
        """
        self._runtime.switch_fleet(self._index_of(label), holds=True)

    def reset(self) -> None:
        """Switch back to the cluster of the highest priority, and allow automatic failback again.

        :raises ClientOfflineException: it cannot be reached, and nothing has changed
        """
        self._runtime.switch_fleet(0, holds=False)

    @property
    def failover(self) -> ReadOnlyFailover:
        """A live, read-only view of the clusters and of which one is current."""
        return self._failover

    @property
    def control(self) -> ClientControl:
        """What the rest of the package does with it; apps need none of it."""
        return self._runtime

    def same_cluster(self) -> AbstractContextManager[None]:
        """A block whose operations run on one cluster only.

        Once the client has switched, an operation of the calling thread raises ``ClusterChanged``.
        """
        return self._operations.section()

    def subscribe(self, receiver: Receiver) -> None:
        """Have ``receiver`` called with each event, in order, on one thread of the client's own.

        One that raises is logged, and one that takes long holds up other receivers only.

        :raises TypeError: ``receiver`` cannot be called
        """
        self._runtime.subscribe(receiver)

    def operation_counts(self) -> Counters:
        """How many operations were repeated, ended with an unknown outcome, and wait right now.

        And how many events were dropped, since listeners did not keep up.
        """
        return replace(self._operations.policy.counters)

    @mirrors(ClientFacade.add_distributed_object_listener)
    def add_distributed_object_listener(
        self, listener_func: Callable[[DistributedObjectEvent], None]
    ) -> Future[str]:
        def add() -> Future[str]:
            listeners = self._runtime.listeners
            return listeners.add(CLIENT, "add_distributed_object_listener", (listener_func,), {})

        creator = self._runtime.proxies.creator
        if not creator.is_busy():
            return add()
        # Structures handed out before must not be reported as new.
        return on_thread(lambda: creator.wait_for_pending(_STRUCTURES_TIMEOUT)).continue_with(lambda _: add())

    @mirrors(ClientFacade.remove_distributed_object_listener)
    def remove_distributed_object_listener(self, registration_id: str) -> Future[bool]:
        return self._runtime.listeners.remove(registration_id)

    @mirrors(ClientFacade.get_distributed_objects)
    def get_distributed_objects(self) -> list[Proxy[Any]]:
        return self._runtime.proxies.list_all()

    @mirrors(ClientFacade.create_vector_collection_config)
    def create_vector_collection_config(self, *args: Any, **kwargs: Any) -> None:
        def start(client: Any, _: Link) -> Future[Any]:
            return on_thread(lambda: client.create_vector_collection_config(*args, **kwargs))

        traits = MethodTraits(Idempotency.REPEATABLE)
        self._operations.run(
            self._operations.operation(CLIENT, "create_vector_collection_config", traits, start)
        )

    def __enter__(self) -> HazelcastClient:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        link, state = self._runtime.route.link, self._runtime.route.state
        where, known = f" to {link.label}" if link is not None else "", ", ".join(self._clusters.labels)
        return f"<HazelcastClient {self._name!r} {state}{where}, clusters: {known}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a HazelcastClient cannot be copied or pickled: make one in each process that needs one"
        )

    def __getattr__(self, name: str) -> Any:
        # What the official client keeps private belongs to the one of the active cluster.
        runtime = self.__dict__.get("_runtime")
        link = runtime.route.link if runtime is not None else None
        if not name.startswith("_") or name.startswith("__") or link is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(link.client, name)

    def _index_of(self, label: str) -> int:
        labels = self._clusters.labels
        if not isinstance(label, str):
            raise TypeError(f"label must be a cluster's label (a str), not {type(label).__name__}")
        if label not in labels:
            raise ValueError(f"there is no cluster {label!r}; the labels are {', '.join(labels)}")
        return labels.index(label)

    def _current_index(self) -> int:
        route = self._runtime.route
        return self._clusters.cluster_count if route.state is State.OFFLINE else route.last_index
