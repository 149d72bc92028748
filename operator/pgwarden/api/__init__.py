"""Foundation: the shapes every kind shares. Pure: no I/O, no clock, no Kubernetes client."""
