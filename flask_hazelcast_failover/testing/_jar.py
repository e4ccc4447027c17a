"""Finding the jars of a member: in the local Maven repository, else fetched into it."""

import contextlib
import functools
import hashlib
import importlib.util
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ._errors import JarNotFoundError

GROUP = "com.hazelcast"

# SHA-256 of the jars of the default version, which run as this user. Of other versions whatever the repository has counts.
_CHECKSUMS = {
    "hazelcast-5.7.0.jar": "241ec66cea8491787f68c3336f069ac463877af50bdb7676cd9d538f1940dc33",
    "hazelcast-sql-5.7.0.jar": "e747be48589069d0b072d8153b75fbceb11ea00d977d56d04b64d7258d36fd85",
}


def find_jars(version: str, *artifacts: str) -> tuple[Path, ...]:
    """Return the paths of the jars of one version of Hazelcast, fetching those that are missing.

    A jar of the default version is used only if it has the checksum that is written here.

    artifacts: names within `com.hazelcast`, such as "hazelcast". They are kept in the user's Maven repository,
    `M2_REPO` or `~/.m2/repository`.

    Raises JarNotFoundError when a jar is missing or another one, and cannot be fetched.
    """
    return tuple(_find(artifact, version) for artifact in artifacts)


def _find(artifact: str, version: str) -> Path:
    path = _path(artifact, version)
    fault = _fault(path)
    if fault is None:
        return path
    if importlib.util.find_spec("jgo") is None:
        raise JarNotFoundError(
            f"{path} {fault} and the package jgo, which would fetch it, is not installed. "
            "Install it with `pip install 'Flask-Hazelcast-Failover[embedded]'`, or put the jar there."
        )
    with _locked(path):
        # jgo takes whatever is there, also what an interrupted download has left. Another process may have put it right.
        fault = _fault(path)
        if fault is not None:
            path.unlink(missing_ok=True)
        fetched = _fetch(f"{GROUP}:{artifact}:{version}", path, fault or "is missing")
        fault = _fault(fetched)
        if fault is not None:
            fetched.unlink(missing_ok=True)
            raise JarNotFoundError(
                f"{fetched} {fault}, as it was fetched; it was deleted. "
                "Try again; if this remains, the repository or a proxy serves another file."
            )
    return fetched


def _fetch(coordinates: str, path: Path, fault: str) -> Path:
    import jgo

    try:
        return Path(jgo.resolve(coordinates)[0].resolve())
    except Exception as error:  # jgo raises errors of its HTTP and XML libraries
        raise JarNotFoundError(
            f"{path} {fault}, and {coordinates} could not be fetched ({type(error).__name__}: {error}). "
            f"Check the version and the network, or put the jar at {path}."
        ) from error


def _path(artifact: str, version: str) -> Path:
    repository = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    return repository.joinpath(*GROUP.split("."), artifact, version, f"{artifact}-{version}.jar")


def _fault(jar: Path) -> str | None:
    """What is wrong with a jar; `None` if it can be used."""
    if not jar.is_file():
        return "is missing"
    if not zipfile.is_zipfile(jar):  # it has its directory at the end
        return "is cut short or no jar"
    expected = _CHECKSUMS.get(jar.name)
    if expected is None:
        return None
    state = jar.stat()
    found = _sha256(jar, state.st_ino, state.st_size, state.st_mtime_ns)
    return None if found == expected else f"is another file: its SHA-256 is {found}, expected is {expected}"


@functools.lru_cache(maxsize=16)
def _sha256(jar: Path, *_state: int) -> str:
    """The checksum of a file. Reading takes 40 ms, so it is read again only if its state is another."""
    return hashlib.sha256(jar.read_bytes()).hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from fetching the same jar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        with contextlib.suppress(ImportError):  # no Unix
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
