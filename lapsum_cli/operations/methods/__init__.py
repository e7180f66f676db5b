"""The methods: each a file with a Way (forward, backward, what they cost) for every operation that it computes."""
