"""Bytes in flight: what stands between reading and writing, bounded by what `--memory` leaves."""

from __future__ import annotations

import threading

MIB = 1 << 20


class Budget:
    """Bytes that may be in flight between reading and writing. Whoever would exceed them waits until one is written.

    memory: what the process may hold; used, batch: as `settle` has them.
    """

    SHARE = 0.8
    LEAST = 16 * MIB
    ASIDE = 32 * MIB  # of what every process keeps in reserve (flow.process), for a reader

    def __init__(self, memory: int, used: int = 0, batch: int = 8 * MIB) -> None:
        self.memory, self.lent = memory, 0
        self.settle(used, batch)
        self.used = 0
        self.closed = False
        self.changed = threading.Condition()

    def settle(self, used: int, batch: int) -> None:
        """What there is room for, as known by now. used: what the process holds otherwise; a fifth of the rest is for
        what allocators keep. batch: the most that one batch may take.
        """
        self.overhead = used
        self.size = max(self.LEAST, int(self.SHARE * (self.memory - used)))
        self.aside = self.size + self.ASIDE
        self.batch = min(batch, self.size // 6)
        self.chunk = max(1 << 16, min(MIB, self.size // 32))

    def lend(self) -> int:
        """Two thirds of it are another's from now on: how many bytes; the same to whoever asks again."""
        if not self.lent:
            self.lent = self.size * 2 // 3
            self.SHARE /= 3
            self.size -= self.lent
            self.batch, self.chunk = min(self.batch, self.size // 6), max(1 << 16, min(self.chunk, self.size // 32))
        return self.lent

    def memory_for(self, cost: int) -> int:
        """The memory with which `cost` bytes would fit, in MiB; 80 of them for a process that need not be lean."""
        return in_mib(int(cost / self.SHARE) + self.overhead) + 80

    def refusal(self, cost: int, meanwhile: str) -> str:
        """The words for what needs `cost` bytes, meanwhile, and does not fit."""
        return (
            f"needs {in_mib(cost)} MiB {meanwhile}, and ⟨memory⟩ leaves {in_mib(self.size)} MiB; raise ⟨memory⟩ to "
            f"{self.memory_for(cost)}MiB or more"
        )

    def take(self, cost: int, held: int) -> bool:
        """Reserve `cost` more; False when nothing but the `held` bytes of the caller is left to wait for."""
        with self.changed:
            while self.used + cost > self.size and not self.closed:
                if self.used <= held:
                    return False
                self.changed.wait()
            self.used += cost
            return True

    def give(self, cost: int) -> None:
        """So much is written, and free again."""
        with self.changed:
            self.used -= cost
            self.changed.notify_all()

    def close(self) -> None:
        """No more work: whoever waits, goes on."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def in_mib(size: int) -> int:
    """Bytes as whole MiB, rounded up."""
    return -(-size // MIB)
