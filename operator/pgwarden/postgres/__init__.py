"""Foundation: the only importer of psycopg. Connections, why they fail, the replication protocol, SQL by name."""
