"""One shard after another, the last first; how many they were is said."""

import sys


def run(task, shards, workers):
    """What task(shard) gives, for every shard, in order."""
    print(f"toy engine: {len(shards)} shard", file=sys.stderr)
    return [task(shard) for shard in reversed(shards)][::-1]
