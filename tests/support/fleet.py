"""Processes of one fleet, each represented by an app of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from flask import Flask

from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.admin import BEARER
from tests.support.apps import TOKEN, client_of, make_app
from tests.support.waiting import eventually


class Process:
    """One process of a fleet: an app with its client and its admin routes."""

    def __init__(self, flask_app: Flask, client: HazelcastClient) -> None:
        self.flask_app = flask_app
        self.client = client
        self.visitor = flask_app.test_client()

    @property
    def id(self) -> str:
        return self.client.status().worker

    @property
    def place(self) -> tuple[str | None, int]:
        """Its cluster and its epoch."""
        status = self.client.status()
        return status.current_cluster, status.epoch

    @property
    def fleet(self) -> dict[str, Any]:
        fleet: dict[str, Any] = self.visitor.get("/hazelcast/status", headers=BEARER).get_json()["fleet"]
        return fleet

    @property
    def desired(self) -> dict[str, Any]:
        """The desired state that it knows, empty if it knows none."""
        return self.fleet["desired"] or {}

    @property
    def seen(self) -> dict[str, str | None]:
        """The processes that it sees, with their clusters."""
        return {worker["id"]: worker["current_cluster"] for worker in self.fleet["workers"]}

    def post(self, path: str, **body: object) -> Any:
        return self.visitor.post(f"/hazelcast/{path}", json=body, headers=BEARER)

    def serves(self) -> Process:
        """Connect to every running cluster and take a first request."""
        self.client.start()
        self.visitor.get("/hazelcast/health/live")
        eventually(lambda: "connecting" not in {c.state for c in self.client.status().clusters})
        return self


class Start(Protocol):
    """Makes a process that ends with the test."""

    def __call__(self, *clusters: LocalCluster | str, **settings: Any) -> Process: ...


@pytest.fixture
def begin() -> Iterator[Start]:
    """Make processes that do not serve yet."""
    with ExitStack() as running:

        def begin(*clusters: LocalCluster | str, **settings: Any) -> Process:
            quick = {"TRY_COUNT": 1, "RETRY_DELAY": 0.01, "HEALTH_CHECK_INTERVAL": 0.2}
            flask_app = make_app(*clusters, ADMIN_TOKEN=TOKEN, **(quick | settings))
            return Process(flask_app, running.enter_context(client_of(flask_app)))

        yield begin


@pytest.fixture
def start(begin: Start) -> Start:
    """Make processes that serve."""
    return lambda *clusters, **settings: begin(*clusters, **settings).serves()


def together(*processes: Process) -> None:
    """Wait until all of them see each other."""
    ids = {process.id for process in processes}
    eventually(lambda: all(set(process.seen) == ids for process in processes))
