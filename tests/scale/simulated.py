"""How long a run over many shards takes in its scheduler: the engine's own loop over a cluster that is simulated.

    python3 tests/scale/simulated.py [SHARDS WORKERS]

Tasks take no time but that of a clock; what the driver does between them takes what it takes, and is added to it: the
loop of engines/ray.py, and the manifest, on the disk. Durations are lognormal, one task in a hundred takes ten times as
long, and one in a hundred dies half way.
"""

import heapq
import os
import pickle
import sys
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import pytest

from lapsum_cli.engines import manifest
from lapsum_cli.engines.ray import Cluster

DIES, STRAGGLES, TIMES = 0.01, 0.01, 10.0


class Dead(Exception):
    """A worker has died."""


class Simulated:
    """As much of Ray as the engine calls: `now` is the clock in seconds, `busy` how long the driver worked.

    durations     of each shard, by its number
    counts_driver whether what the driver takes passes on the clock
    """

    def __init__(self, durations, seed=0, dies=DIES, counts_driver=True):
        self.durations, self.dies, self.counts_driver = durations, dies, counts_driver
        self.drawn = np.random.default_rng(seed)
        self.now, self.busy, self.worked, self.died = 0.0, 0.0, 0.0, 0
        self.ends, self.told = [], {}
        self.exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=Dead, OutOfMemoryError=MemoryError)
        self.since = time.perf_counter()

    def is_initialized(self):
        return True

    def shutdown(self):
        pass

    def put(self, value):
        return value

    def remote(self, **needs):
        return lambda function: SimpleNamespace(remote=self._send)

    def _send(self, *about):
        self._passes()
        shard = pickle.loads(about[-1])
        takes, dies = self.durations[shard], self.drawn.random() < self.dies
        takes = takes / 2 if dies else takes
        one = len(self.told)
        self.told[one] = None if dies else shard
        self.worked, self.died = self.worked + takes, self.died + dies
        heapq.heappush(self.ends, (self.now + takes, one))
        return one

    def _passes(self):
        now = time.perf_counter()
        self.busy += now - self.since
        self.now += (now - self.since) * self.counts_driver
        self.since = now

    def wait(self, running, num_returns=1, timeout=None):
        self._passes()
        if timeout is None:
            self.now = max(self.now, self.ends[0][0])
        found = []
        while self.ends and self.ends[0][0] <= self.now and len(found) < num_returns:
            found.append(heapq.heappop(self.ends)[1])
        self.since = time.perf_counter()
        return found, [one for one in running if one not in found]

    def cancel(self, one, force):
        pass

    def get(self, one):
        if (shard := self.told[one]) is None:
            raise Dead
        return True, shard


def durations(count, median, seed=0):
    """(count,) seconds."""
    drawn = np.random.default_rng(seed)
    return drawn.lognormal(np.log(median), 0.3, count) * np.where(drawn.random(count) < STRAGGLES, TIMES, 1.0)


def simulate(takes, workers, add, ray):
    """The clock at the end, and the cluster: every shard, done once."""
    cluster = Cluster(ray, is_own=False)
    done = []
    for shard in cluster.run(None, range(len(takes)), workers):
        done.append(shard)
        add(shard)
    ray._passes()
    assert sorted(done) == list(range(len(takes)))
    return ray.now, ray


LINE = {"losses": [], "groups": True, "seconds": 10.0, "files": [{"name": "p00000.parquet", "bytes": 1}]}


def with_manifest(takes, workers, together, fsync):
    """simulate, where a manifest on this disk is written, of which each fsync takes so many seconds more, and comes
    after so many.
    """

    def wait(handle, real=os.fsync):
        real(handle)
        ray.now += fsync

    ray = Simulated(takes)
    patches = {"TOGETHER": together, "time": SimpleNamespace(monotonic=lambda: ray.now)}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        written = manifest.Manifest(folder)
        for name, value in patches.items():
            patch.setattr(manifest, name, value)
        patch.setattr(os, "fsync", wait)
        written.begin({"inputs": []})
        found = simulate(takes, workers, lambda i: written.add({manifest.SHARD: f"p{i:05}.parquet", **LINE}), ray)
        written.close()
    return found


def main(shards=10_000, workers=1_000):
    print("median s | fsync every | makespan s | work / workers | the longest | driver ms a shard | died")
    for median in (1.0, 10.0, 60.0, 600.0):
        takes = durations(shards, median)
        for together in (0.0, manifest.TOGETHER):
            took, ray = with_manifest(takes, workers, together, fsync=0.025)
            print(
                f"{median:8g} | {together:11g} | {took:10.1f} | {ray.worked / workers:14.1f} | {takes.max():11.1f} | "
                f"{1e3 * ray.busy / shards:17.2f} | {ray.died}"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
