"""The pytest plugin in a project that has installed the package."""

from __future__ import annotations

import pytest

PROJECT = """
    import pytest
    from flask import Flask
    from flask_hazelcast_failover import HazelcastFailover

    ext = HazelcastFailover()
    seen = []

    def shop(blue, green):
        app = Flask("shop")
        app.config["HAZELCAST_FAILOVER_CLUSTERS"] = [
            {"cluster_name": cluster.name, "addresses": cluster.addresses} for cluster in (blue, green)
        ]
        ext.init_app(app)

        @app.get("/bolts")
        def bolts():
            return {"bolts": ext.client.get_map("stock").blocking().get("bolts")}

        return app

    def test_the_shop_answers(hazelcast_clusters):
        seen.append(hazelcast_clusters)
        app = shop(*hazelcast_clusters)
        assert app.test_client().get("/bolts").json == {"bolts": None}
        with app.app_context():
            ext.client.shutdown()

    def test_clusters_are_shared(hazelcast_clusters, hazelcast_cluster):
        assert hazelcast_clusters is seen[0]
        assert hazelcast_cluster is hazelcast_clusters[0]

    @pytest.mark.hazelcast_faults
    def test_the_shop_survives_a_kill_of_blue(hazelcast_clusters):
        blue, green = hazelcast_clusters
        assert hazelcast_clusters is not seen[0]
        app = shop(blue, green)
        assert app.test_client().get("/bolts").status_code == 200
        blue.kill()
        assert app.test_client().get("/bolts").status_code == 200
        with app.app_context():
            assert ext.client.status().current_cluster == "green"
            ext.client.shutdown()

    def test_a_test_without_the_marker_kills_a_shared_cluster(hazelcast_cluster):
        hazelcast_cluster.kill()

    def test_the_next_test_has_running_clusters(hazelcast_clusters):
        assert all(member.state.name == "RUNNING" for cluster in hazelcast_clusters for member in cluster.members)

    def test_without_hazelcast_the_client_is_substituted():
        class Stand:
            def get_map(self, name): return self
            def blocking(self): return self
            def get(self, key): return 7

        app = Flask("shop")
        app.config["HAZELCAST_FAILOVER_CLUSTERS"] = "hazelcast://blue@127.0.0.1:1"
        ext.init_app(app)
        app.add_url_rule("/bolts", view_func=lambda: {"bolts": ext.client.get_map("stock").blocking().get("bolts")})
        with ext.substitute(app, Stand()):
            assert app.test_client().get("/bolts").json == {"bolts": 7}
        with app.app_context():
            assert ext.client.status().state == "idle"
"""


def test_a_project_uses_the_fixtures_and_the_marker(project: pytest.Pytester) -> None:
    project.makepyfile(test_shop=PROJECT)
    result = project.runpytest_subprocess("--strict-markers", timeout=50)
    result.assert_outcomes(passed=6)


def test_pytest_loads_the_plugin_and_explains_the_marker(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--markers", timeout=30)
    result.stdout.fnmatch_lines(["@pytest.mark.hazelcast_faults(members=1): *"])


def test_the_plugin_gives_no_warnings(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nfilterwarnings = error")
    project.makepyfile("def test_nothing(): pass")
    project.runpytest_subprocess(timeout=50).assert_outcomes(passed=1)


def test_the_marker_takes_the_number_of_members_only(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest

        @pytest.mark.hazelcast_faults(2)
        def test_two(hazelcast_clusters):
            assert [len(cluster.members) for cluster in hazelcast_clusters] == [2, 2]

        @pytest.mark.hazelcast_faults(member=2)
        def test_misspelt(hazelcast_clusters): pass
    """)
    result = project.runpytest_subprocess(timeout=50)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*unexpected keyword argument 'member'*"])
