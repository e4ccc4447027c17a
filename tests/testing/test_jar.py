"""The jars of the default version are used only if they are the very ones: they run as the user."""

import hashlib
import os
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_hazelcast_failover.testing import JarNotFoundError, LocalCluster, _cluster, _jar
from flask_hazelcast_failover.testing._jar import find_jars


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the jar of the default version is looked for, in an empty repository."""
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    path = tmp_path / "com/hazelcast/hazelcast/5.7.0/hazelcast-5.7.0.jar"
    path.parent.mkdir(parents=True)
    return path


def write_jar(path: Path, text: str) -> str:
    """Write a jar with other contents; returns its checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr(zipfile.ZipInfo("Main.class"), text)  # without the time
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetching(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> list[str]:
    """Have jgo fetch a jar with these contents; returns the coordinates that it was asked for."""
    asked: list[str] = []

    def resolve(coordinates: str) -> list[Any]:
        asked.append(coordinates)
        if not path.exists():
            write_jar(path, text)
        return [SimpleNamespace(resolve=lambda: path)]

    monkeypatch.setitem(sys.modules, "jgo", SimpleNamespace(resolve=resolve, __spec__=SimpleNamespace()))
    return asked


def expecting(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> None:
    monkeypatch.setitem(_jar._CHECKSUMS, path.name, write_jar(path.with_suffix(".expected"), text))


def test_every_jar_of_the_default_version_has_a_checksum() -> None:
    for artifact in _cluster.artifacts_of(jet=True):
        assert len(_jar._CHECKSUMS[f"{artifact}-{_cluster.DEFAULT_VERSION}.jar"]) == 64


def test_the_jar_that_members_run_has_the_checksum() -> None:
    (jar,) = find_jars(_cluster.DEFAULT_VERSION, "hazelcast")
    assert hashlib.sha256(jar.read_bytes()).hexdigest() == _jar._CHECKSUMS[jar.name]


def test_another_jar_than_expected_is_not_kept(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    asked = fetching(monkeypatch, path, "evil")
    with pytest.raises(JarNotFoundError) as caught:
        LocalCluster("blue").start()
    found = write_jar(path.with_suffix(".found"), "evil")
    assert found in str(caught.value) and _jar._CHECKSUMS[path.name] in str(caught.value)
    assert not path.exists()
    assert asked == ["com.hazelcast:hazelcast:5.7.0"]


def test_a_changed_jar_in_the_repository_is_fetched_again(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    expecting(monkeypatch, path, "good")
    write_jar(path, "good")
    asked = fetching(monkeypatch, path, "good")
    assert find_jars("5.7.0", "hazelcast") == (path,)
    assert asked == []
    whole, state = path.read_bytes(), path.stat()
    path.write_bytes(whole.replace(b"good", b"evil"))  # still a zip, of the same length
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert find_jars("5.7.0", "hazelcast") == (path,)
    assert path.read_bytes() == whole and len(asked) == 1


def test_a_changed_jar_is_named_with_both_checksums(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    found = write_jar(path, "evil")

    def resolve(_: str) -> Any:
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "jgo", SimpleNamespace(resolve=resolve, __spec__=SimpleNamespace()))
    with pytest.raises(
        JarNotFoundError, match=f"{found}.*{_jar._CHECKSUMS[path.name]}.*could not be fetched"
    ):
        find_jars("5.7.0", "hazelcast")
    write_jar(path, "evil")
    monkeypatch.setitem(sys.modules, "jgo", None)
    with pytest.raises(JarNotFoundError, match=f"{_jar._CHECKSUMS[path.name]}.*jgo.*not installed"):
        find_jars("5.7.0", "hazelcast")


def test_another_version_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    other = path.parents[1] / "5.6.0/hazelcast-5.6.0.jar"
    fetching(monkeypatch, other, "any")
    assert find_jars("5.6.0", "hazelcast") == (other,)
