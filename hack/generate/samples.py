"""The kustomization that makes ConfigMaps of the sample migrations: kustomize knows no wildcard."""

from __future__ import annotations

from hack.generate.crd import to_yaml
from hack.generate.output import HEADER, ROOT

FOLDER = "manifests/samples/migrations"
DATABASES = ("operational", "analytics")


def sample_files() -> dict[str, str]:
    """Path -> content: one ConfigMap `<database>-migrations` for each folder of SQL files."""
    generators = [
        {
            "name": f"{database}-migrations",
            "files": [f"{database}/{path.name}" for path in sorted((ROOT / FOLDER / database).glob("*.sql"))],
        }
        for database in DATABASES
    ]
    customization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "configMapGenerator": generators,
        "generatorOptions": {"disableNameSuffixHash": True},
    }
    header = HEADER.replace("change the models in operator/pgwarden instead", "it lists the SQL files beside it")
    return {f"{FOLDER}/kustomization.yaml": header + to_yaml(customization)}
