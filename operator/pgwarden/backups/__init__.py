"""DatabaseBackup: one backup."""
