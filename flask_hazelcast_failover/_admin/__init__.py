"""The admin routes: closed by default, except for health probes."""

from __future__ import annotations

from flask_hazelcast_failover._admin.access import Access, AdminAuth
from flask_hazelcast_failover._admin.blueprint import create_blueprint

__all__ = ["Access", "AdminAuth", "create_blueprint"]
