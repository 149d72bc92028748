"""Foundation: the only importer of psycopg: connections, the replication protocol, SQL."""
