"""Foundation: the only importer of the Kubernetes client."""
