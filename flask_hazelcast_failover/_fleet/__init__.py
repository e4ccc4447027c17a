"""The processes of one app act as one; Hazelcast itself is where they meet.

``fleet`` is what the app and its operators talk to, ``pulse`` the thread behind it, ``rules`` what it
decides by, ``boards`` and ``records`` what the processes leave on the clusters for each other.
"""

from flask_hazelcast_failover._fleet.fleet import Fleet
from flask_hazelcast_failover._fleet.name import server_name

__all__ = ["Fleet", "server_name"]
