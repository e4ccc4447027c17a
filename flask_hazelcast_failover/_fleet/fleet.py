"""Fleet: what the app, its client and its operators call to act on all workers together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hazelcast.errors import HazelcastClientNotActiveError

from .._fleet_control import CommandResult, SwitchCommand, TargetUnreachable
from .._threads import reset_in_child
from ..client import HazelcastClient
from ..client.control import OfficialClient
from ..client.events import ClusterSwitched, Event, Reason
from ..client.options import Options
from ..client.status import Condition, State
from ..errors import ClientOfflineException
from .command_runner import CommandRunner
from .fleet_store import claim_arrival, read_once
from .initial_placement import InitialPlacement, preferred_label
from .participation import Participation

# How long reading one cluster's records may delay a first connection, seconds.
_PLACEMENT_TIMEOUT = 2.0
# How long finding out who arrived first may delay the signal of a switch, seconds: a member that has just started
# answers late, and a process that does not wait for it sends a second alert.
_CLAIM_TIMEOUT = 3.0

_logger = logging.getLogger("flask_hazelcast_failover.fleet")


class Fleet:
    """One process's handle on its fleet: the ``FleetHook`` of its client, the ``FleetControl`` of its operators.

    :param client: of this process
    :param options: of that client
    :param name: gives the fleet's name in the process that calls it
    :param is_named: whether the name was configured, so that the fleet outlives this server
    """

    def __init__(
        self, client: HazelcastClient, options: Options, name: Callable[[], str], *, is_named: bool
    ) -> None:
        self._client = client
        self._options = options
        self._name = name
        self._is_named = is_named
        self._reset()
        reset_in_child(self, Fleet._reset)

    def _reset(self) -> None:
        """Create what belongs to one process: in the constructor and in a forked child."""
        options = self._options
        self._participation = Participation(self._client, options, self._name, is_named=self._is_named)
        self._commands = CommandRunner(self._client, options, self._participation)
        # Without standby, one cluster is tried after the other, so that none has another to wait for.
        clusters = [] if self._participation.is_cold else self._participation.labels
        longest = min(options.connect_timeout, options.wait_timeout) / 3
        self._placement = InitialPlacement(clusters, self._down, longest)

    # What the app calls.

    def on_request(self) -> None:
        """A request has come in: this process counts as a worker from now on."""
        if not self._participation.is_serving:
            self._participation.is_serving = True
            if self._client.status().state is not State.IDLE:
                self._participation.worker.wake()

    def on_event(self, event: Event) -> None:
        """The client has reported an event: the other workers may have to know."""
        if self._participation.takes_part:
            self._participation.worker.wake()

    def annotate(self, event: Event) -> Event:
        """Set ``fleet_first`` of a switch; return other events as they are. Takes 3 s at most."""
        if not isinstance(event, ClusterSwitched) or not self._participation.takes_part:
            return event
        if not self._participation.is_serving:
            return replace(event, fleet_first=False)  # only serving processes may be fleet_first
        worker, me = self._participation.worker, self._client.status().worker
        clients = self._client.control.connected_clusters()
        is_first = claim_arrival(clients, event.current, worker.identity.fleet, me, _CLAIM_TIMEOUT)
        if is_first is None:
            # That cluster is lost too, or does not answer: the first of the workers last seen counts.
            is_first = me == min([*worker.last_seen, me])
        return replace(event, fleet_first=is_first)

    def may_fail_back_to(self, client: OfficialClient) -> bool:
        """Whether no order keeps this process where it is, and every worker can reach the cluster of a connection.

        If not all could follow a failback, the majority would undo it again and again.
        """
        if not self._participation.takes_part:
            return True
        clusters = self._client.control.connected_clusters()
        label = next((label for label, other in clusters.items() if other is client), None)
        view = self._participation.worker.view
        is_free = not (view.has_pending_order or view.is_held)
        return is_free and label is not None and all(label in record.reach for record in view.workers)

    # What the client calls.

    def switch_fleet(self, index: int, *, holds: bool) -> None:
        """Switch the whole fleet. Raises ``ClientOfflineException`` if nothing has changed."""
        status = self._client.status()
        if status.state is State.CLOSED:
            raise HazelcastClientNotActiveError("the client was shut down")
        command = SwitchCommand(status.clusters[index].label, by=f"process {status.worker}")
        try:
            if self._participation.takes_part and not self._participation.is_serving:
                # A shell is not told with the others and switches last: it must know before that it can.
                self._client.control.connect_soon()
                self._client.control.try_to_connect(index)
            # If this process has arrived, a later command may have moved it on: do not switch again.
            if status.worker not in self._commands.run(command, holds=holds).done:
                self._client.control.switch(index, Reason.MANUAL, holds=holds)
        except TargetUnreachable as error:
            raise ClientOfflineException(str(error)) from error

    def preferred(self, label: str, client: OfficialClient) -> str | None:
        """The cluster that the fleet is on, so that a late starter begins there."""
        if not self._participation.takes_part:
            return None
        identity = self._participation.worker.identity
        preferred = None
        try:
            snapshot = read_once(client, identity.fleet, _PLACEMENT_TIMEOUT)
            preferred = preferred_label(snapshot, trusts_past=identity.trusts_past)
        except Exception as error:
            _logger.debug("cannot read the records of fleet %s on %s: %s", identity.fleet, label, error)
        return self._placement.report(label, preferred)

    def deregister(self, timeout: float) -> None:
        """Remove this worker's record, so that the others see at once that it has gone."""
        self._participation.stop(timeout)

    # What operators call.

    def status(self) -> dict[str, Any]:
        """The client's status with what this process knows of its fleet."""
        view = self._participation.view()
        status = self._client.status()
        workers = [record for record in view.workers if record.id != status.worker]
        if self._participation.is_serving:
            workers.append(self._participation.worker.identity.record(status, ()))
        workers.sort(key=lambda record: record.id)
        places = {record.current_cluster for record in workers} - {None}
        fleet = {
            "name": self._participation.worker.identity.fleet,
            "workers": [record.as_dict() for record in workers],
            "desired": None if view.desired is None else view.desired.as_dict(),
            "split": len(places) > 1,
        }
        return {**status.as_dict(), "fleet": fleet}

    def carry_out(self, command: SwitchCommand) -> CommandResult:
        """Switch the workers that the command names. See :class:`FleetControl`."""
        return self._commands.run(command, holds=command.label is not None)

    def _down(self) -> list[str]:
        # A cluster stays DOWN until preferred() has returned, even if it is connected.
        connected = self._client.control.connected_clusters()
        clusters = self._client.status().clusters
        return [one.label for one in clusters if one.state is Condition.DOWN and one.label not in connected]
