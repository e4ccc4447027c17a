"""HAZELCAST_FAILOVER_CLUSTERS: its forms, and what is refused without showing a secret."""

import json
from collections.abc import Sequence

import pytest

from flask_hazelcast_failover._settings import Settings
from flask_hazelcast_failover.failover import ClusterConfig


def clusters(given: object) -> Sequence[ClusterConfig]:
    return Settings.from_config({"HAZELCAST_FAILOVER_CLUSTERS": given}).clusters.clusters


def refusal(given: object) -> str:
    """Return the text of the error for these clusters and of its cause."""
    with pytest.raises((TypeError, ValueError)) as refused:
        clusters(given)
    errors = [refused.value, refused.value.__cause__]
    return " ".join(f"{error!r} {vars(error)}" for error in errors if error is not None)


AS_DICTS = [
    {
        "cluster_name": "blue",
        "addresses": ["blue-1:5701", "blue-2:5702"],
        "priority": 1,
        "label": "the blue one",
    },
    {
        "cluster_name": "green",
        "dns_name": "green.internal",
        "port": 5711,
        "priority": 0,
        "refresh_interval": 30.0,
    },
]
AS_URLS = [
    "hazelcast://blue@blue-1:5701,blue-2:5702?priority=1&label=the%20blue+one",
    "hazelcast+cname://green@green.internal:5711?priority=0&refresh_interval=30",
]


@pytest.mark.parametrize(
    "given",
    [
        AS_DICTS,
        tuple(AS_DICTS),
        AS_URLS,
        [AS_DICTS[0], AS_URLS[1]],
        " ".join(AS_URLS),
        f"  {AS_URLS[0]}\n\t{AS_URLS[1]}  ",
        json.dumps(AS_DICTS),
        json.dumps(AS_URLS),
        json.dumps(" ".join(AS_URLS)),
    ],
    ids=["dicts", "tuple", "urls", "both", "spaces", "more spaces", "JSON dicts", "JSON urls", "JSON text"],
)
def test_clusters_are_the_same_in_every_form(given: object) -> None:
    green, blue = clusters(given)
    assert (blue.label, blue.cluster_name, blue.priority) == ("the blue one", "blue", 1)
    assert blue.addresses == ("blue-1:5701", "blue-2:5702")
    assert green.dns is not None
    assert (green.label, green.priority, green.is_dns) == ("green", 0, True)
    assert (green.dns.dns_name, green.dns.port, green.dns.refresh_interval) == ("green.internal", 5711, 30.0)


def test_names_in_a_url_are_percent_decoded() -> None:
    (cluster,) = clusters("hazelcast://east%20coast%3A%40%C3%A9@host:5701/")
    assert cluster.cluster_name == "east coast:@é"


def test_a_cname_url_may_leave_out_its_port() -> None:
    (cluster,) = clusters("hazelcast+cname://green@green.internal")
    assert cluster.dns is not None
    assert (cluster.dns.port, cluster.dns.refresh_interval) == (5701, 60.0)


@pytest.mark.parametrize(
    "url",
    [
        "hazelcast://user:hidden@host:5701",
        "hazelcast://blue@user:hidden@host:5701",
        "hazelcast://user@hidden@host:5701",
        "hazelcast+cname://user:hidden@host",
    ],
)
def test_credentials_in_a_url_are_refused_without_showing_them(url: str) -> None:
    message = refusal([url])
    assert "credentials" in message and "creds_password" in message
    assert "hidden" not in message


PASSWORD = {"creds_username": "u", "creds_password": "hidden"}


@pytest.mark.parametrize(
    "given",
    [
        "hazelcast://blue@host:5701?creds_password=hidden",
        "redis://:hidden@host",
        "hidden",
        '[{"creds_password": "hidden"',
        [{"cluster_name": "blue", "addresses": ["host:0"]} | PASSWORD],
        [
            {
                "cluster_name": "blue",
                "addresses": ["h:1"],
                "creds_username": "u",
                "creds_password": {"hidden": 1},
            }
        ],
        [{"cluster_name": "blue"} | PASSWORD],
        {"cluster_name": "blue", "addresses": ["h:1"]} | PASSWORD,
    ],
)
def test_no_error_shows_a_possible_secret(given: object) -> None:
    message = refusal(given)
    assert "HAZELCAST_FAILOVER_CLUSTERS" in message
    assert "hidden" not in message


def test_a_mistyped_argument_of_a_cluster_is_named() -> None:
    message = refusal([{"cluster_nam": "blue", "addresses": ["host:5701"]}])
    assert "HAZELCAST_FAILOVER_CLUSTERS[0]" in message
    assert "cluster_name" in message and "cluster_nam'" in message


def test_addresses_and_a_dns_name_together_are_refused() -> None:
    assert "both" in refusal([{"cluster_name": "blue", "addresses": ["host:5701"], "dns_name": "host"}])


def test_an_error_gives_the_index_of_the_entry() -> None:
    assert "HAZELCAST_FAILOVER_CLUSTERS[1]" in refusal("hazelcast://blue@host:5701 hazelcast://host:5701")
