"""The admin routes: closed by default, except for health probes."""

from __future__ import annotations

from .access import Access, AdminAuth
from .blueprint import create_blueprint

__all__ = ["Access", "AdminAuth", "create_blueprint"]
