"""DatabaseMigration: a set of migrations wanted at a version."""
