"""BackupStore: where backups live."""
