"""The workers of one app act as one fleet. They meet in a map on each Hazelcast cluster.

``fleet`` is what the app, the client and operators call. Below it, ``command_runner`` carries out a command, and
``fleet_worker`` is the background thread, which exchanges ``records`` through ``fleet_store`` and decides by
``policy``.
"""

from .fleet import Fleet
from .name import server_name

__all__ = ["Fleet", "server_name"]
