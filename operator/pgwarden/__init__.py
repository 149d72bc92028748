"""pgwarden: migrations, backups, restores and watch for PostgreSQL clusters it does not own."""

__version__ = "0.1.0"
