"""Finding the jars of a member: in the local Maven repository, else fetched into it."""

import contextlib
import fcntl
import importlib.util
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from flask_hazelcast_failover.testing._errors import JarNotFoundError

GROUP = "com.hazelcast"


def find_jars(version: str, *artifacts: str) -> tuple[Path, ...]:
    """Return the paths of one version of Hazelcast's jars, fetched if they are not on this machine yet.

    `artifacts` are names within `com.hazelcast`, such as "hazelcast". They are kept in the Maven repository of the
    user: `M2_REPO`, or `~/.m2/repository`.

    Raises JarNotFoundError when a jar is neither there nor to be had.
    """
    return tuple(_find(artifact, version) for artifact in artifacts)


def _find(artifact: str, version: str) -> Path:
    place = _place(artifact, version)
    if _is_whole(place):
        return place
    if importlib.util.find_spec("jgo") is None:
        raise JarNotFoundError(
            f"{place} is missing and the package jgo, which would fetch it, is not installed. "
            "Install it with `pip install 'Flask-Hazelcast-Failover[embedded]'`, or put the jar there."
        )
    with _one_process_at_a_time(place):
        # An interrupted download leaves a part of the file behind, which jgo would take for the whole.
        if place.exists() and not _is_whole(place):
            place.unlink()
        fetched = _fetch(f"{GROUP}:{artifact}:{version}", place)
    if not _is_whole(fetched):
        raise JarNotFoundError(f"{fetched} is damaged. Delete it and try again.")
    return fetched


def _fetch(coordinates: str, place: Path) -> Path:
    import jgo

    try:
        return Path(jgo.resolve(coordinates)[0].resolve())
    except Exception as error:  # jgo lets the errors of its HTTP and XML libraries through
        raise JarNotFoundError(
            f"{coordinates} could not be fetched ({type(error).__name__}: {error}). "
            f"Check the version and the network, or put the jar at {place}."
        ) from error


def _place(artifact: str, version: str) -> Path:
    repository = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    return repository.joinpath(*GROUP.split("."), artifact, version, f"{artifact}-{version}.jar")


def _is_whole(jar: Path) -> bool:
    """A zip's directory is at its end, so a jar that was cut short is not a zip."""
    return jar.is_file() and zipfile.is_zipfile(jar)


@contextlib.contextmanager
def _one_process_at_a_time(place: Path) -> Iterator[None]:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
