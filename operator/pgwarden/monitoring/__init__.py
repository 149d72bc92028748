"""The monitor process: measures databases, exports metrics, serves one JSON document."""
