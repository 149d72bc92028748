"""Generates what follows from the models: CRDs, RBAC rules, kustomize manifests, health rules, the API reference."""
