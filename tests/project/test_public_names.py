"""The public names, and where they are imported from."""

import inspect
import subprocess
import sys

import pytest
from hazelcast.client import HazelcastClient as OfficialClient
from hazelcast.config import Config
from hazelcast.errors import ClientOfflineError, HazelcastError, IndeterminateOperationStateError

import flask_hazelcast_failover
from flask_hazelcast_failover import failover

NAMES = {
    "CNAMEResolver",
    "ClientConfig",
    "ClientOfflineException",
    "ClusterChanged",
    "FailoverConfig",
    "HazelcastClient",
    "HazelcastFailover",
    "OperationOutcomeUnknown",
    "signals",
}


def test_importing_the_package_starts_no_thread() -> None:
    program = "import threading, flask_hazelcast_failover, flask_hazelcast_failover.testing; print(threading.active_count())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60.0)
    assert run.stdout.split() == [b"1"]


def test_the_package_exports_its_public_names_and_no_others() -> None:
    assert set(flask_hazelcast_failover.__all__) == NAMES
    assert {name for name in NAMES if not hasattr(flask_hazelcast_failover, name)} == set()


def test_the_configuration_is_in_the_module_of_the_source_document() -> None:
    for name in ("FailoverConfig", "CNAMEResolver"):
        assert getattr(failover, name) is getattr(flask_hazelcast_failover, name)
        assert name in failover.__all__


@pytest.mark.parametrize("name", sorted(NAMES - {"signals"}))
def test_every_public_class_has_a_doc_string(name: str) -> None:
    assert inspect.getdoc(getattr(flask_hazelcast_failover, name))


def test_errors_extend_the_official_ones() -> None:
    offline = flask_hazelcast_failover.ClientOfflineException
    unknown = flask_hazelcast_failover.OperationOutcomeUnknown
    assert issubclass(offline, ClientOfflineError)
    assert issubclass(unknown, IndeterminateOperationStateError)
    assert not issubclass(unknown, offline)
    assert issubclass(flask_hazelcast_failover.ClusterChanged, HazelcastError)
    assert issubclass(flask_hazelcast_failover.ClientConfig, Config)


def test_the_client_has_all_names_of_the_official_one() -> None:
    ours, official = flask_hazelcast_failover.HazelcastClient, OfficialClient
    names = [name for name in vars(official) if not name.startswith("_")]
    assert len(names) > 20
    for name in names:
        mine, theirs = inspect.getattr_static(ours, name), inspect.getattr_static(official, name)
        assert isinstance(mine, property) == isinstance(theirs, property), name
        if inspect.isfunction(theirs) and name not in ("shutdown",):
            assert inspect.signature(mine) == inspect.signature(theirs), name
            assert inspect.getdoc(mine) == inspect.getdoc(theirs), name


def test_the_client_has_the_documented_additions() -> None:
    client = flask_hazelcast_failover.HazelcastClient
    for name in ("start", "status", "switch_to", "reset", "same_cluster", "subscribe", "shutdown"):
        assert callable(getattr(client, name))
    assert isinstance(inspect.getattr_static(client, "failover"), property)
