"""BackupPolicy: when a cluster is backed up, what is kept, and whether the objectives hold."""
