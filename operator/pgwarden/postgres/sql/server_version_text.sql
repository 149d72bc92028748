SELECT version(), pg_is_in_recovery()
