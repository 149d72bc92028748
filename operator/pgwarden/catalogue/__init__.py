"""What lies in an archive: which backups can be restored and how far, what may be deleted, whether it is intact."""
