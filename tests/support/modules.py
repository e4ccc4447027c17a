"""Modules that only a certain server or library brings."""

from __future__ import annotations

import sys
import types

import pytest


def stub(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: object) -> types.ModuleType:
    """Have a module with these attributes stand where another would be imported."""
    module = types.ModuleType(name)
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module
