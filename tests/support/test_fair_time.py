"""The clock for upper bounds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import fair_time as clock
from tests.support.fair_time import fair_time


def pressure(short_of_cores: float) -> str:
    """The kernel's file after so many seconds."""
    return (
        f"some avg10=1.00 avg60=2.62 avg300=16.30 total={short_of_cores * 1e6:.0f}\nfull avg10=0.00 total=0\n"
    )


def test_time_short_of_cores_counts_a_third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "cpu"
    monkeypatch.setattr(clock, "_PRESSURE", kernel)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    kernel.write_text(pressure(short_of_cores=90.0))
    before = fair_time()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: 1010.0))
    assert fair_time() - before == pytest.approx(10.0)
    kernel.write_text(pressure(short_of_cores=96.0))
    assert fair_time() - before == pytest.approx(10.0 - 6.0 * 2 / 3)


def test_without_pressure_information_it_is_the_monotonic_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_PRESSURE", tmp_path / "missing")
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    assert fair_time() == 1000.0
