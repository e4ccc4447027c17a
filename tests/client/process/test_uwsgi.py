"""A real uWSGI: its workers survive their cluster, and options with which they would hang are rejected."""

import os
from typing import Any

import pytest

from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support import script_client
from tests.support.modules import stub
from tests.support.serving import Served, ServerEnded, serve_with_uwsgi
from tests.support.waiting import eventually

PRELOADED = "tests.support.preloaded_app:app"
THREADS = "--enable-threads"


def answers(server: Served) -> dict[int, Any]:
    return {answer["pid"]: answer for _, answer in (server.get("/read") for _ in range(8))}


def test_workers_with_lazy_apps_survive_their_cluster(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    def all_switched() -> bool:
        return {(answer["on"], answer["epoch"]) for answer in answers(server).values()} == {("green", 2)}

    with serve_with_uwsgi(*pair, app=PRELOADED, arguments=(THREADS, "--lazy-apps")) as server:
        assert {answer["on"] for answer in answers(server).values()} == {"blue"}
        pair[0].kill()
        eventually(all_switched, within=10)


def test_workers_forked_before_the_first_use(blue: LocalCluster) -> None:
    with serve_with_uwsgi(blue, arguments=(THREADS,)) as server:
        assert server.get("/hazelcast/health")[0] == 200


def test_a_use_before_the_fork_is_rejected(blue: LocalCluster) -> None:
    with pytest.raises(ServerEnded, match=r"RuntimeError.*before uWSGI forks.*--lazy-apps"):
        serve_with_uwsgi(blue, app=PRELOADED, arguments=(THREADS,)).__enter__()


def test_a_server_without_threads_is_rejected(blue: LocalCluster) -> None:
    with pytest.raises(ServerEnded, match=r"RuntimeError.*--enable-threads"):
        serve_with_uwsgi(blue).__enter__()


MINE = os.getpid()


@pytest.mark.parametrize(
    ("master", "worker", "processes", "is_rejected"),
    [
        pytest.param(MINE, 0, 2, True, id="the master, before it forks"),
        pytest.param(0, 0, 2, True, id="the first of several workers without a master"),
        pytest.param(0, 0, 1, False, id="the only worker without a master"),
        pytest.param(MINE + 1, 1, 2, False, id="a worker"),
        pytest.param(MINE + 1, 0, 2, False, id="a mule or the spooler"),
    ],
)
def test_only_the_process_that_forks_workers_is_rejected(
    master: int, worker: int, processes: int, is_rejected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(
        monkeypatch,
        "uwsgi",
        opt={"enable-threads": True},
        numproc=processes,
        masterpid=lambda: master,
        worker_id=lambda: worker,
    )
    client: HazelcastClient = script_client.make_client({"blue": ["127.0.0.1:1"]}, {"try_count": 1})
    try:
        if is_rejected:
            with pytest.raises(RuntimeError, match="--lazy-apps"):
                client.control.connect_soon()
        else:
            client.control.connect_soon()
    finally:
        client.shutdown()
