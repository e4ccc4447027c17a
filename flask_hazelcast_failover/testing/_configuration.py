"""The configuration file and the command line of a member."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"

# They halve the start-up time of a JVM. A killed JVM leaves the file of its performance data behind.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
# Reading the schema for the validation takes half of a member's start.
VALIDATION = "-Dhazelcast.config.schema.validation.enabled="
_MAIN_CLASS = "com.hazelcast.core.server.HazelcastMemberStarter"

_PROPERTIES = {
    "hazelcast.phone.home.enabled": "false",
    "hazelcast.local.localAddress": LOOPBACK,
    "hazelcast.wait.seconds.before.join": "0",
    "hazelcast.max.wait.seconds.before.join": "0",
    "hazelcast.logging.type": "jdk",
    # They take a tenth of a member's start and a fifth of its load when idle.
    "hazelcast.metrics.enabled": "false",
}


@dataclass(frozen=True)
class MemberOptions:
    """What all members of one cluster have in common."""

    cluster_name: str
    java: Path
    jars: tuple[Path, ...]
    heap: int = 96  # megabytes
    jet: bool = False
    partition_count: int | None = None
    jvm_flags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def member_config(options: MemberOptions, port: int, join: str | None, *, lite: bool) -> str:
    """Return the text of a member's configuration file.

    join: the address ("host:port") of the member whose cluster it joins; None for the first of a new one.
    """
    properties = _PROPERTIES | dict(options.properties)
    if options.partition_count is not None:
        properties["hazelcast.partition.count"] = str(options.partition_count)
    first = {"member-list": [f"{LOOPBACK}:{port}"]}
    # A member waits for a required one: all can be started at once and form one cluster.
    other = {"required-member": join}
    ours = {
        "cluster-name": options.cluster_name,
        "properties": _without_wildcards(properties),
        "jet": {"enabled": options.jet},
        "lite-member": {"enabled": lite},
        "network": {
            "reuse-address": True,
            "port": {"port": port, "auto-increment": False},
            "interfaces": {"enabled": True, "interfaces": [LOOPBACK]},
            "join": {
                "auto-detection": {"enabled": False},
                "multicast": {"enabled": False},
                "tcp-ip": {"enabled": True} | (first if join is None else other),
            },
        },
    }
    # JSON is YAML, and needs no library to write.
    return json.dumps({"hazelcast": merge(options.config, ours)}, indent=2)


def member_command(options: MemberOptions, config_file: Path) -> Sequence[str]:
    """Return the command line that runs a member. A configuration with parts of the user's is validated."""
    validation = VALIDATION + ("true" if options.config else "false")
    return (*jvm_command(options, validation), f"-Dhazelcast.config={config_file}", _MAIN_CLASS)


def jvm_command(options: MemberOptions, *flags: str) -> Sequence[str]:
    """Return the command line that starts Java with a member's flags and class path, without a main class."""
    class_path = ":".join(str(jar) for jar in options.jars)
    heap = f"-Xmx{options.heap}m"
    return (str(options.java), *QUICK_START, *flags, *options.jvm_flags, heap, "-cp", class_path)


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return two nested mappings as one; where both have a value, `over` wins."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both_nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below, value) if both_nested else value  # type: ignore[arg-type]
    return merged


def _without_wildcards(properties: Mapping[str, str]) -> dict[str, str]:
    """Members listen on every interface, whatever their configured address, unless these properties forbid it."""
    binds = (
        "hazelcast.socket.bind.any",
        "hazelcast.socket.server.bind.any",
        "hazelcast.socket.client.bind.any",
    )
    return {**properties, **dict.fromkeys(binds, "false")}
