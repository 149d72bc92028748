"""Continuous archiving of WAL: a receiver that keeps nothing but what the store holds."""
