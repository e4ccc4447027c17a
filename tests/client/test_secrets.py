"""No log line, repr, status or error contains a secret, whatever fails and at any log level."""

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hazelcast.security import BasicTokenProvider

from flask_hazelcast_failover import (
    ClientConfig,
    ClientOfflineException,
    FailoverConfig,
    HazelcastClient,
    HazelcastFailover,
)
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.waiting import eventually

PASSWORD, TOKEN, PASSPHRASE, ADMIN = "pa55-of-the-day", "t0ken-of-the-day", "ssl-pa55-phrase", "admin-t0ken"
SECRETS = (PASSWORD, TOKEN, PASSPHRASE, ADMIN)


def secrets_in(text: object) -> list[str]:
    """Return the secrets that a text contains."""
    return [secret for secret in SECRETS if secret in str(text) or secret in repr(text)]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log at all levels, which must contain no secret."""
    with caplog.at_level(logging.DEBUG):
        yield caplog
    records = caplog.get_records("call")
    assert records
    for record in records:
        assert not secrets_in(record.getMessage()), record.getMessage()
        assert not secrets_in(record.args)
        if record.exc_info:
            assert not secrets_in("".join(traceback.format_exception(*record.exc_info)))


def secret_options(tmp_path: Path) -> dict[str, dict[str, Any]]:
    key = tmp_path / "key.pem"
    key.write_text("no key at all")
    return {
        "password": {"creds_username": "app", "creds_password": PASSWORD},
        "token": {"token_provider": BasicTokenProvider(TOKEN)},
        "passphrase": {
            "ssl_enabled": True,
            "ssl_certfile": str(key),
            "ssl_keyfile": str(key),
            "ssl_password": PASSPHRASE,
        },
    }


@pytest.mark.parametrize("kind", ["password", "token", "passphrase"])
def test_a_client_that_is_refused_reveals_no_secret(
    blue: LocalCluster, log: pytest.LogCaptureFixture, tmp_path: Path, kind: str
) -> None:
    options = secret_options(tmp_path)[kind]
    config = FailoverConfig(try_count=1)
    config.add_cluster("wrong-name", blue.addresses, label="refusing", **options)
    config.add_cluster("absent", [f"127.0.0.1:{free_port()}"], **options)
    client = HazelcastClient(config, client_options=options)
    events: list[object] = []
    client.subscribe(events.append)
    with pytest.raises(ClientOfflineException) as raised:
        client.get_map("secrets").blocking().size()
    with pytest.raises(ClientOfflineException) as refused:
        client.switch_to("absent")
    eventually(lambda: events)
    seen = [
        client,
        client.failover,
        client.failover.get_current_cluster() if client.failover.current_cluster_index < 2 else None,
        client.failover.clusters,
        client.failover.to_client_config(0),
        client.status(),
        json.dumps(client.status().as_dict()),
        config,
        client._runtime._options,
        *events,
        *(error.value for error in (raised, refused)),
        *(pickle.dumps(error.value) for error in (raised, refused)),
        *("".join(traceback.format_exception(error.value)) for error in (raised, refused)),
    ]
    client.shutdown()
    for one in (*seen, client):
        assert not secrets_in(one), one


def test_a_connected_client_reveals_no_secret(
    blue: LocalCluster, green: LocalCluster, log: pytest.LogCaptureFixture
) -> None:
    config = FailoverConfig()
    for cluster in (blue, green):  # open-source members refuse clients with credentials
        config.add_cluster(cluster.name, cluster.addresses, ssl_password=PASSPHRASE)
    with HazelcastClient(config) as client:
        secrets: Any = client.get_map("secrets").blocking()
        secrets.set("key", 1)
        client.switch_to("green")
        client.reset()
        assert not secrets_in((client, client.status(), client.failover, client.control.connected_clusters()))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: HazelcastClient(FailoverConfig(), client_options={"creds_password": PASSWORD}),
        lambda: HazelcastClient(ClientConfig(), client_options=PASSWORD),
        lambda: HazelcastClient(ClientConfig(), client_option={"creds_password": PASSWORD}),
        lambda: HazelcastClient(ClientConfig(), client_options={"cred_password": PASSWORD}),
        lambda: HazelcastClient(ClientConfig(), client_options={"creds_password": [PASSWORD]}),
        lambda: HazelcastClient({"creds_password": PASSWORD}),  # type: ignore[arg-type]
        lambda: ClientConfig.from_dict({"ssl_pasword": PASSPHRASE}),
        lambda: ClientConfig.from_dict({"ssl_password": {PASSPHRASE: 1}}),
        lambda: FailoverConfig().add_cluster("blue", ["127.0.0.1:1"], creds_pasword=PASSWORD),
        lambda: FailoverConfig().add_cluster("blue", ["127.0.0.1:1"], token_provider=TOKEN),
        lambda: Options.from_mapping({"client_options": [TOKEN]}),
    ],
)
def test_errors_of_the_configuration_reveal_no_secret(mistake: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        mistake()
    assert not secrets_in(raised.value)


def test_an_app_reveals_no_secret(log: pytest.LogCaptureFixture) -> None:
    app = Flask("shop")
    app.config["HAZELCAST_FAILOVER_CLUSTERS"] = [f"hazelcast://blue@127.0.0.1:{free_port()}"]
    app.config["HAZELCAST_FAILOVER_CLIENT_OPTIONS"] = {"creds_username": "app", "creds_password": PASSWORD}
    app.config["HAZELCAST_FAILOVER_ADMIN_TOKEN"] = ADMIN
    app.config["HAZELCAST_FAILOVER_TRY_COUNT"] = 1
    ext = HazelcastFailover(app)

    @app.get("/")
    def index() -> str:
        return str(ext.client.get_map("secrets").blocking().size())

    browser = app.test_client()
    answers = [
        browser.get("/"),
        browser.get("/hazelcast/health"),
        browser.get("/hazelcast/status"),
        browser.get("/hazelcast/status", headers={"Authorization": f"Bearer {ADMIN}"}),
        browser.get("/hazelcast/", headers={"Authorization": f"Bearer {ADMIN}"}),
    ]
    for answer in answers:
        assert not secrets_in(answer.text) and not secrets_in(dict(answer.headers))
    assert not secrets_in((ext, vars(ext), list(ext.app_states._states.values())))
    with app.app_context():
        ext.client.shutdown()
