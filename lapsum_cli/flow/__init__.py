"""Bounded: what a run holds, how it is cut, and the stages that run ahead of one another."""
