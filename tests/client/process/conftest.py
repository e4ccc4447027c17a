"""What the tests of processes share."""

from flask_hazelcast_failover.testing import LocalCluster


def clusters_of(*clusters: LocalCluster) -> dict[str, list[str]]:
    """The clusters as a script takes them: label -> addresses."""
    return {cluster.name: cluster.addresses for cluster in clusters}
