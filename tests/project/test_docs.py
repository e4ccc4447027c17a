"""The code blocks of the README and the docs: Python runs on real clusters, YAML parses, commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from flask import Flask

from flask_hazelcast_failover import FailoverConfig, HazelcastClient, HazelcastFailover, signals
from flask_hazelcast_failover._cli.commands import commands
from flask_hazelcast_failover._cluster_entries import add_clusters
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
]
# Tested as a whole, on their own.
WHOLE_PAGES = {"tutorial.md", "testing.md", "recipes.md"}
LANGUAGES = {"python", "sh", "yaml", "text", ""}


class Block(NamedTuple):
    language: str
    code: str


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_code_block_has_a_known_language(page: Path) -> None:
    known = {block.language for block in _blocks(page) if not block.language.startswith("{")}
    assert known <= LANGUAGES


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in WHOLE_PAGES], ids=lambda page: page.name
)
def test_python_runs(page: Path, blue: LocalCluster, green: LocalCluster) -> None:
    clusters = FailoverConfig()
    clusters.add_cluster("blue", blue.addresses)
    with HazelcastClient(clusters) as client:
        stock: Any = client.get_map("stock").blocking()
        stock.put("bolts", 3)
        names: dict[str, Any] = {"client": client, "__name__": "page"}
        before = dict(names)
        for block in _blocks(page):
            if block.language == "python":
                exec(compile(_with_addresses(block.code, blue, green), str(page), "exec"), names)
        _use_definitions(names, before)


def _use_definitions(names: dict[str, Any], before: dict[str, Any]) -> None:
    """Use what the blocks have defined."""
    if "CLUSTERS" in names:
        app = Flask("page")
        app.config["HAZELCAST_FAILOVER_CLUSTERS"] = names["CLUSTERS"]
        app.config["HAZELCAST_FAILOVER_CLIENT_OPTIONS"] = names.get("CLIENT_OPTIONS", {})
        HazelcastFailover(app)
    if "create_app" in names:
        app = names["create_app"]()
        for rule in list(app.url_map.iter_rules()):
            if rule.endpoint in app.view_functions and not rule.arguments and "GET" in (rule.methods or ()):
                assert app.test_client().get(rule.rule).status_code in (200, 401, 404)
        with app.app_context():
            names["ext"].client.shutdown()
    made = names.get("client")
    if made is not None and made is not before["client"]:
        made.shutdown()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_parses_and_configures_clusters(page: Path) -> None:
    for block in _blocks(page):
        if block.language == "yaml":
            for document in yaml.safe_load_all(block.code):
                for variable in _environment_in(document):
                    if variable["name"] == "FLASK_HAZELCAST_FAILOVER_CLUSTERS":
                        clusters = FailoverConfig()
                        add_clusters(clusters, "CLUSTERS", variable["value"])
                        assert clusters.labels == ("blue", "green")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    targets = (ROOT / "Makefile").read_text()
    for line in (
        line for block in _blocks(page) if block.language in ("sh", "") for line in block.code.splitlines()
    ):
        words = shlex.split(line, comments=True)
        if words[:2] == ["flask", "hazelcast"]:
            assert words[2] in commands.commands
        elif words[:1] == ["make"]:
            assert f"\n{words[1]}:" in targets
        elif words[:1] == ["export"] and words[1].endswith("}"):
            json.loads(words[1].partition("=")[2])


def test_the_tutorial_leads_to_an_app_that_survives(tmp_path: Path) -> None:
    programs = [block.code for block in _blocks(ROOT / "docs" / "tutorial.md") if block.language == "python"]
    for name, code in zip(("clusters.py", "app.py"), programs, strict=True):
        (tmp_path / name).write_text(code)
    with _Running([sys.executable, "clusters.py"], tmp_path, {}) as clusters:
        assert clusters.stdout is not None
        found = [clusters.stdout.readline().split() for _ in range(2)]
        port = free_port()
        environment = {
            "FLASK_HAZELCAST_FAILOVER_CLUSTERS": " ".join(line[0] for line in found),
            "FLASK_HAZELCAST_FAILOVER_ADMIN_TOKEN": "choose-something-long",
        }
        command = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(port)]
        with _Running(command, tmp_path, environment):
            eventually(lambda: _get(port) == {"visits": 1, "cluster": "blue"}, within=20.0)
            os.kill(int(found[0][-1]), signal.SIGKILL)
            assert _get(port) == {"visits": 1, "cluster": "green"}
            assert _get(port) == {"visits": 2, "cluster": "green"}
            assert clusters.stdin is not None
            clusters.stdin.write("\n")
            clusters.stdin.flush()
            eventually(lambda: _reset(port) == 200, within=20.0)
            assert _get(port) == {"visits": 1, "cluster": "blue"}


def test_the_page_on_testing_runs_as_a_test_file(project: pytest.Pytester) -> None:
    first, second, freezegun, time_machine = [
        block.code for block in _blocks(ROOT / "docs" / "howto" / "testing.md") if block.language == "python"
    ]
    body = "\n".join(f"    {line}" for line in second.splitlines())
    project.makepyfile(
        test_shop=f"{first}\n\ndef test_without_hazelcast():\n{body}\n{freezegun}\n{time_machine}"
    )
    project.runpytest_subprocess(timeout=50).assert_outcomes(passed=5)


@pytest.fixture(autouse=True)
def _restore_receivers() -> Iterator[None]:
    kept = dict(signals.cluster_switched.receivers)
    yield
    signals.cluster_switched.receivers.clear()
    signals.cluster_switched.receivers.update(kept)


def _blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(language.strip(), code) for language, code in found]


def _with_addresses(code: str, blue: LocalCluster, green: LocalCluster) -> str:
    """Return the code with the addresses of real clusters."""
    places = {"blue": blue.addresses[0], "hz-green": "127.0.0.1:1", "green": green.addresses[0]}
    code = re.sub(r"\bblue-2:5701\b", blue.addresses[0], code)
    for name in ("blue", "green"):
        code = re.sub(rf"\b{name}-1(?:\.example\.com)?:5701\b", places[name], code)
    # The default registry has the metrics of other tests.
    own_registry = "FailoverMetrics(__import__('prometheus_client').CollectorRegistry())"
    code = code.replace("FailoverMetrics()", own_registry)
    return code.replace("hazelcast.internal.example.com", "127.0.0.1")


def _environment_in(document: dict[str, Any]) -> list[dict[str, Any]]:
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    return [variable for container in pod.get("containers", ()) for variable in container.get("env", ())]


def _get(port: int) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return None
    except OSError:
        return None


def _reset(port: int) -> int:
    headers = {"Authorization": "Bearer choose-something-long"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/hazelcast/reset", method="POST", headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


class _Running:
    """A program that ends with the block."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
