"""Routes to see and steer the clusters of an app: closed by default, health probes aside."""

from __future__ import annotations

from flask_hazelcast_failover._admin.access import Access, AdminAuth
from flask_hazelcast_failover._admin.blueprint import create_blueprint

__all__ = ["Access", "AdminAuth", "create_blueprint"]
