"""Logical backups: pg_dump of each database to the store, for servers that give nobody the right to replicate."""
