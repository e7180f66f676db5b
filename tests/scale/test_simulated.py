"""The loop that sends shards to a cluster, over one that is simulated: thousands of tasks, by the clock."""

import os

import numpy as np
import pytest
from simulated import LINE, Simulated, durations, simulate

from lapsum_cli import IOFailed
from lapsum_cli.engines import manifest

SHARDS, WORKERS = 2000, 100


def test_a_run_takes_its_work_by_its_workers_and_the_longest_task_at_most():
    """Graham's bound of any order; one that dies half way is sent again behind, and is as long as the longest twice."""
    takes = durations(SHARDS, 10.0)
    took, ray = simulate(takes, WORKERS, lambda shard: None, Simulated(takes, counts_driver=False))
    assert ray.died > 10
    assert takes.max() > 5 * np.median(takes)
    least = max(ray.worked / WORKERS, takes.max())
    assert least <= took <= ray.worked / WORKERS + 2 * takes.max()


def test_a_shard_that_always_dies_is_an_error():
    takes = durations(20, 10.0)
    with pytest.raises(IOFailed, match=r"^\d+: its worker died, 3 times"):
        simulate(takes, 5, lambda shard: None, Simulated(takes, dies=1.0, counts_driver=False))


def test_lines_of_a_second_go_to_the_disk_together(tmp_path, monkeypatch):
    """And the last with them, at the latest when the run ends."""
    takes, synced = durations(500, 0.1), []
    ray = Simulated(takes, dies=0.0, counts_driver=False)
    written = manifest.Manifest(str(tmp_path))
    monkeypatch.setattr(manifest.time, "monotonic", lambda: ray.now)
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((ray.now, os.fstat(handle).st_size)))
    written.begin({"inputs": []})
    took, _ = simulate(takes, 20, lambda i: written.add({manifest.SHARD: str(i), **LINE}), ray)
    written.close()
    assert took / manifest.TOGETHER / 2 < len(synced) <= took / manifest.TOGETHER + 3 < 50
    assert synced[-1][1] == (tmp_path / manifest.MANIFEST).stat().st_size
    again = manifest.Manifest(str(tmp_path))
    assert len(again.done) == 500
    again.close()
