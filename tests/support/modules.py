"""Stubs of modules that exist under a certain server only."""

from __future__ import annotations

import sys
import types

import pytest


def stub(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: object) -> types.ModuleType:
    """Replace a module by one with these attributes."""
    module = types.ModuleType(name)
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module
