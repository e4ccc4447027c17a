"""Start two clusters and the shop on them: ``python -m example_app``, or ``make run``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from example_app.launcher import Buttons, Shop, ShopError, open_shop
from example_app.stop_signals import Stopped, stop_on_signals
from flask_hazelcast_failover.testing import LocalClusterError

_PORT = 5000


def main() -> int:
    """Serve until a signal stops it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m example_app", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=_PORT, help="another one is used if it is taken (default: %(default)s)"
    )
    parser.add_argument("--no-demo", action="store_true", help="leave out the buttons that kill clusters")
    arguments = parser.parse_args()
    stop_on_signals()
    print("Starting two clusters, blue and green, and the shop ...", flush=True)
    status = 0
    try:
        with open_shop(arguments.port, Buttons.HIDDEN if arguments.no_demo else Buttons.SHOWN) as shop:
            print(_welcome(shop), flush=True)
            status = shop.process.wait()
            print(f"gunicorn ended by itself with status {status}.", file=sys.stderr)
    except Stopped:
        print("\nStopped: the shop, and both clusters.", flush=True)
    except (ShopError, LocalClusterError) as error:
        print(error, file=sys.stderr)
        status = 1
    return status


def _welcome(shop: Shop) -> str:
    admin, sign_in = f"{shop.url}/hazelcast", f"-H 'Authorization: Bearer {shop.admin_token}'"
    clusters = ", ".join(f"{cluster.name} on {' '.join(cluster.addresses)}" for cluster in shop.clusters)
    # A command reads no cookies and serves no admin routes, so any value does.
    secrets = {"FLASK_SECRET_KEY": "any", "FLASK_HAZELCAST_FAILOVER_ADMIN_TOKEN": "any"}
    configured = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in {**shop.configuration, **secrets}.items()
    )
    return f"""
  The shop        {shop.url}/
  Clusters        {clusters} (the first is the primary)

  Admin page      {admin}/  (any user name, and the token as the password)
  Admin token     {shop.admin_token}
  Health          curl {admin}/health
  Metrics         curl {shop.url}/metrics
  Status          curl {sign_in} {admin}/status
  Back to blue    curl -X POST {sign_in} {admin}/reset
  To green        curl -X POST {sign_in} -H 'Content-Type: application/json' \\
                    -d '{{"cluster": "green"}}' {admin}/switch
  From a shell    export {configured}
                  {Path(sys.executable).with_name("flask")} hazelcast status
                  (`switch green` and `reset` instead of `status` move the shop, without curl)

  The shop's log follows here; a failover takes a few lines of it. Ctrl-C stops everything.
"""


if __name__ == "__main__":
    sys.exit(main())
