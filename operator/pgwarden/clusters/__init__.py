"""DatabaseCluster: how to reach one PostgreSQL cluster, and how it is."""
