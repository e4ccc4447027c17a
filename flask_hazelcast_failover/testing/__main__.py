"""Fetch what local clusters need, so that they start fast and without a network."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ._archive_making import make_archive
from ._cluster import DEFAULT_VERSION, artifacts_of
from ._errors import LocalClusterError
from ._jar import find_jars
from ._java import find_java, java_version


def main() -> int:
    """Fetch what is missing and print where Java and the jars are; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flask_hazelcast_failover.testing", description=__doc__)
    parser.add_argument("versions", nargs="*", default=[DEFAULT_VERSION], help="versions of Hazelcast")
    parser.add_argument(
        "--sql", action="store_true", help=f"also fetch what SQL needs, for version {DEFAULT_VERSION}"
    )
    arguments = parser.parse_args()
    try:
        java = find_java()
        sys.stdout.write(f"Java {java_version(java)}: {java}\n")
        for version in arguments.versions:
            jars = find_jars(version, *artifacts_of(jet=arguments.sql and version == DEFAULT_VERSION))
            sys.stdout.write(f"Hazelcast {version}: {', '.join(map(str, jars))}\n")
            _archive_classes(java, jars[:1])
    except LocalClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _archive_classes(java: Path, jars: Sequence[Path]) -> None:
    try:
        sys.stdout.write(f"Archive of its classes: {make_archive(java, jars)}\n")
    except (LocalClusterError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"Members will start slowly, without an archive of their classes: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
