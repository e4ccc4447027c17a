"""Finding the jars of a member: in the local Maven repository, else fetched into it."""

import contextlib
import fcntl
import importlib.util
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ._errors import JarNotFoundError

GROUP = "com.hazelcast"


def find_jars(version: str, *artifacts: str) -> tuple[Path, ...]:
    """Return the paths of the jars of one version of Hazelcast, fetching those that are missing.

    artifacts: names within `com.hazelcast`, such as "hazelcast". They are kept in the user's Maven repository,
    `M2_REPO` or `~/.m2/repository`.

    Raises JarNotFoundError when a jar is missing and cannot be fetched.
    """
    return tuple(_find(artifact, version) for artifact in artifacts)


def _find(artifact: str, version: str) -> Path:
    path = _path(artifact, version)
    if _is_complete(path):
        return path
    if importlib.util.find_spec("jgo") is None:
        raise JarNotFoundError(
            f"{path} is missing and the package jgo, which would fetch it, is not installed. "
            "Install it with `pip install 'Flask-Hazelcast-Failover[embedded]'`, or put the jar there."
        )
    with _locked(path):
        # An interrupted download leaves an incomplete file behind, which jgo does not notice.
        if path.exists() and not _is_complete(path):
            path.unlink()
        fetched = _fetch(f"{GROUP}:{artifact}:{version}", path)
    if not _is_complete(fetched):
        raise JarNotFoundError(f"{fetched} is damaged. Delete it and try again.")
    return fetched


def _fetch(coordinates: str, path: Path) -> Path:
    import jgo

    try:
        return Path(jgo.resolve(coordinates)[0].resolve())
    except Exception as error:  # jgo raises errors of its HTTP and XML libraries
        raise JarNotFoundError(
            f"{coordinates} could not be fetched ({type(error).__name__}: {error}). "
            f"Check the version and the network, or put the jar at {path}."
        ) from error


def _path(artifact: str, version: str) -> Path:
    repository = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    return repository.joinpath(*GROUP.split("."), artifact, version, f"{artifact}-{version}.jar")


def _is_complete(jar: Path) -> bool:
    """Whether a jar is there and not cut short: a zip has its directory at the end."""
    return jar.is_file() and zipfile.is_zipfile(jar)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from fetching the same jar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
