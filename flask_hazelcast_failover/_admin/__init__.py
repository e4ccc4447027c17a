"""The admin routes: closed by default, except for health probes."""

from __future__ import annotations

from .access import Access, AdminAuth
from .blueprint import create_blueprint
from .domains import answer_probes_for_any_host

__all__ = ["Access", "AdminAuth", "answer_probes_for_any_host", "create_blueprint"]
