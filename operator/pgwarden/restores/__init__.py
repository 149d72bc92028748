"""RestoreRequest: one restore."""
