"""Short rankings, a thread for each: those of a block lie side by side in slots of its shared memory.

All threads of a block load what its rankings have and store what comes of it, score by score; in between each thread
goes through its own ranking in order. So lanes are full however short and uneven the rankings are, and no result
depends on what else is in the block.

s holds numbers for each thread (tiles.ROWS_OF_SHORT of them): where its ranking begins among the scores, where it ends,
what is added to a slot to give the score there, a number of the kernel's own, and which ranking it is; then rows of a
number for each slot. One row says who owns each slot: -1 where nobody does.
"""

from .adapter import cuda, device


@device
def slots_of_block(slots):
    """How many slots this block has."""
    first = cuda.blockIdx.x * cuda.blockDim.x
    return slots[min(first + cuda.blockDim.x, slots.size - 1)] - slots[first]


@device
def ranking_of(short):
    """The ranking of this thread, -1 for none."""
    at = cuda.grid(1)
    return short[at] if at < short.size else -1


@device
def take(s, owners, r, slots, offsets, number):
    """Where the slots of this thread's ranking r begin and end; every thread knows of all rankings from here on."""
    t, threads = cuda.threadIdx.x, cuda.blockDim.x
    first, last = 0, 0
    if r >= 0:
        at = cuda.grid(1)
        low, high = offsets[r], offsets[r + 1]
        first = slots[at] - slots[at - t]
        last = first + high - low
        s[t], s[threads + t], s[2 * threads + t] = low, high, low - first
        s[3 * threads + t], s[4 * threads + t] = number, r
        for i in range(first, last):
            s[owners + i] = t
        if (high - low) % 2 == 0:
            s[owners + last] = -1.0
    cuda.syncthreads()
    return first, last


@device
def score_of(s, owner, slot):
    """Which score a slot has, and where its ranking begins and ends."""
    threads = cuda.blockDim.x
    return slot + int(s[2 * threads + owner]), int(s[owner]), int(s[threads + owner])
