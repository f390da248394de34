import re

import pytest

from rayzer.benchmarks import rooms


@pytest.mark.slow
def test_rates_are_told(run):
    code, out, err = run("bench", "rooms", "--device", "cpu", "--workers", 1)
    assert code == 0, err
    rates = dict(re.findall(r"(full|fast)\s+1\s+([\d.]+)", out))
    assert list(rates) == ["full", "fast"]
    assert all(float(rate) > 0 for rate in rates.values())


def test_the_median_leaves_the_first_round_out(monkeypatch):
    times = iter([0.0, 100.0, *(t for start in range(200, 700, 100) for t in (start, start + 2.0))])
    monkeypatch.setattr(rooms.time, "perf_counter", lambda: next(times))
    assert rooms._median_rate(lambda: 24) == 12
