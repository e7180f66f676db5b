"""From Python: arrays in, arrays out; file in, file out."""
