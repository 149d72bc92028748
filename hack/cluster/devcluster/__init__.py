"""A real Kubernetes cluster on one machine, with or without a container engine."""
