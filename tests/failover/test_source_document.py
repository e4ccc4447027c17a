"""Every code block of the source document runs; only the package name and addresses are replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster, start_together
from flask_hazelcast_failover.testing._ports import free_port
from tests.conftest import StartCluster
from tests.support.dns import LoopbackDns, default_resolver

DOCUMENT = Path(__file__).with_name("source_document.rst").read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Block:
    """A code block: the title above it, the line where it begins, and its code."""

    title: str
    line: int
    code: str

    @property
    def imports(self) -> str:
        """Its import lines."""
        return "".join(re.findall(r"^from .*\n", self.code, re.MULTILINE))


def blocks_of(lines: list[str]) -> Iterator[Block]:
    title = ""
    for number, line in enumerate(lines):
        if number and line and set(line) <= set("=-~") and len(line) == len(lines[number - 1]):
            title = lines[number - 1]
        if line == ".. code-block:: python":
            end = next((at for at, text in enumerate(lines) if at > number and text[:1].strip()), len(lines))
            code = "".join(text[3:] + "\n" for text in lines[number + 1 : end])
            yield Block(title, number + 1, code)


BLOCKS = {block.title: block for block in blocks_of(DOCUMENT)}


class Document:
    """Runs blocks, each with what the document imported before it, and shuts down the client they make."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def run(self, title: str, replaced: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run one block with these texts replaced, each of which must be there, and return its names."""
        for block in BLOCKS.values():
            if block.line < BLOCKS[title].line:
                self._execute(block.imports, block.title)
        code = BLOCKS[title].code
        for text, replacement in (replaced or {}).items():
            assert text in code
            code = code.replace(text, replacement)
        # Empty lines above it let a traceback show the lines of the document.
        self._execute("\n" * BLOCKS[title].line + code, title)
        return self.names

    def close(self) -> None:
        client = self.names.get("client")
        if client is not None:
            client.shutdown()

    def _execute(self, code: str, title: str) -> None:
        code = re.sub(r"^from hazelcast\b", "from flask_hazelcast_failover", code, flags=re.MULTILINE)
        exec(compile(code, f"source_document.rst: {title}", "exec"), self.names)


@pytest.fixture
def document() -> Iterator[Document]:
    opened = Document()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def clusters() -> Iterator[dict[str, LocalCluster]]:
    """Running clusters called as the document calls them."""
    clusters = {name: LocalCluster(name) for name in ("primary", "backup")}
    start_together(*clusters.values())
    yield clusters
    for cluster in clusters.values():
        cluster.stop()


@pytest.fixture
def server() -> Iterator[LoopbackDns]:
    with LoopbackDns() as started, default_resolver(started):
        yield started


def unused_address() -> str:
    """An address without a listener."""
    return f"127.0.0.1:{free_port()}"


def works(client: Any) -> bool:
    entries = client.get_map("source-document").blocking()
    entries.set("key", "value")
    return bool(entries.get("key") == "value")


def test_every_block_is_tested() -> None:
    assert list(BLOCKS) == [
        "Configuration",
        "Adding Clusters",
        "Converting to ClientConfig",
        "Manual Failover Logic",
        "Failover State Management",
        "Creating from ClientConfigs",
        "CNAME Resolution",
        "Multi-Region Example",
    ]
    assert len(BLOCKS) == DOCUMENT.count(".. code-block:: python")


def test_configuration(document: Document) -> None:
    failover = document.run("Configuration")["failover"]
    assert failover.try_count == 3
    assert [cluster.cluster_name for cluster in failover.clusters] == [
        "production-primary",
        "production-backup",
    ]
    assert failover.to_client_config(1).cluster_members == ["backup-node1:5701", "backup-node2:5701"]


def test_adding_clusters(document: Document, server: LoopbackDns) -> None:
    server.answer("hazelcast.internal.example.com", "127.0.0.2", through=("eu.example.com",))
    document.run("Configuration")
    failover = document.run("Adding Clusters")["failover"]
    labels = [cluster.label for cluster in failover.clusters]
    assert labels == ["production-primary", "my-cluster", "production-backup", "dynamic-cluster"]
    assert failover.to_client_config(1).cluster_members == ["node1:5701", "node2:5701"]
    assert failover.to_client_config(3).cluster_members == ["127.0.0.2:5701"]


def test_a_client_finds_a_cluster_by_its_dns_name(
    document: Document, server: LoopbackDns, start_cluster: StartCluster
) -> None:
    cluster = start_cluster("dynamic-cluster")
    ip, port = cluster.addresses[0].split(":")
    server.answer("hazelcast.internal.example.com", ip)
    document.names["failover"] = FailoverConfig(try_count=1)
    replaced = {"node1:5701": unused_address(), "node2:5701": unused_address(), "port=5701": f"port={port}"}
    failover = document.run("Adding Clusters", replaced)["failover"]
    client = document.names["client"] = HazelcastClient(failover)
    client.start()
    assert client.status().current_cluster == "dynamic-cluster"
    assert works(client)


def test_converting_to_client_config(document: Document, clusters: dict[str, LocalCluster]) -> None:
    replaced = {"node1:5701": clusters["primary"].addresses[0], "node2:5701": clusters["backup"].addresses[0]}
    names = document.run("Converting to ClientConfig", replaced)
    assert names["config"].cluster_name == "primary"
    assert names["client"].status().current_cluster == "primary"
    assert works(names["client"])


def test_the_manual_loop_connects_to_the_primary(
    document: Document, clusters: dict[str, LocalCluster], capsys: pytest.CaptureFixture[str]
) -> None:
    replaced = {f"{name}:5701": cluster.addresses[0] for name, cluster in clusters.items()}
    names = document.run("Manual Failover Logic", replaced)
    assert capsys.readouterr().out.splitlines() == ["Connected to primary"]
    assert names["failover"].current_cluster_index == 0
    assert works(names["client"])


def test_the_manual_loop_connects_to_the_backup(
    document: Document, clusters: dict[str, LocalCluster], capsys: pytest.CaptureFixture[str]
) -> None:
    replaced = {"primary:5701": unused_address(), "backup:5701": clusters["backup"].addresses[0]}
    names = document.run("Manual Failover Logic", replaced)
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["Failed to connect to cluster 0", "Connected to backup"]
    assert names["failover"].current_cluster_index == 1
    assert works(names["client"])


def test_the_manual_loop_raises_when_every_cluster_is_down(
    document: Document, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced = {"primary:5701": unused_address(), "backup:5701": unused_address()}
    with pytest.raises(Exception, match=r"^Could not connect to any cluster$") as caught:
        document.run("Manual Failover Logic", replaced)
    assert type(caught.value) is Exception
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["Failed to connect to cluster 0", "Failed to connect to cluster 1"]
    failover = document.names["failover"]
    assert failover.current_cluster_index == failover.cluster_count == 2
    with pytest.raises(ClientOfflineException):
        failover.get_current_cluster()


def test_failover_state_management(document: Document, capsys: pytest.CaptureFixture[str]) -> None:
    failover = document.run("Failover State Management")["failover"]
    assert capsys.readouterr().out.splitlines() == ["Current: cluster-a", "Switched to: cluster-b"]
    assert failover.current_cluster_index == 0


def test_creating_from_client_configs(document: Document) -> None:
    failover = document.run("Creating from ClientConfigs")["failover"]
    assert [cluster.label for cluster in failover.clusters] == ["east-coast", "west-coast"]
    assert failover.to_client_config(1).cluster_members == ["west-node1:5701"]


def test_a_client_connects_with_client_configs(document: Document, clusters: dict[str, LocalCluster]) -> None:
    replaced = {
        "east-coast": "primary",
        "west-coast": "backup",
        "east-node1:5701": unused_address(),
        "west-node1:5701": clusters["backup"].addresses[0],
    }
    failover = document.run("Creating from ClientConfigs", replaced)["failover"]
    client = document.names["client"] = HazelcastClient(failover)
    assert works(client)
    assert client.status().current_cluster == "backup"


def test_cname_resolution(document: Document, server: LoopbackDns) -> None:
    server.answer("hazelcast.internal.example.com", "127.0.0.2", "127.0.0.3", through=("eu.example.com",))
    names = document.run("CNAME Resolution")
    assert names["addresses"] == names["resolver"].resolve() == ["127.0.0.2:5701", "127.0.0.3:5701"]
    assert server.queries("hazelcast.internal.example.com") == 2


def test_multi_region_example(document: Document, server: LoopbackDns) -> None:
    server.answer("hz-dr.eu.internal", "127.0.0.2")
    failover = document.run("Multi-Region Example")["failover"]
    assert failover.try_count == 5
    assert [cluster.label for cluster in failover.clusters] == ["us-east", "us-west", "eu-dr"]
    assert failover.to_client_config(2).cluster_members == ["127.0.0.2:5701"]
