#!/bin/sh
# Everything `make lint` checks. Runs all checks and then fails when one did, so that one run shows all there is to mend.
#
# Needs the development dependencies (requirements/dev.txt) and, for charts and manifests, helm, kubectl, kubeconform
# and go, which `hack/cluster/cluster env` puts on the PATH once they are built. A missing one is a failure: a check
# that silently did not run is worth nothing.
set -u
cd "$(dirname "$0")/.." || exit 1
PYTHONPATH=operator:.${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
failed=''
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

check() {
    name=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then
        printf 'ok      %s\n' "$name"
    else
        printf 'FAILED  %s\n' "$name"
        sed 's/^/        /' "$scratch/log"
        failed=yes
    fi
}

shell_files() {
    git ls-files --cached --others --exclude-standard '*.sh' .ci/run hack/cluster/cluster | while read -r file; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done
}

shellcheck_all() {
    shell_files | xargs shellcheck
}

helm_lint() {
    helm lint --quiet --strict charts/pgwarden charts/pgwarden-crds
}

# Every way the chart is installed, every overlay and every sample, against the schemas of the Kubernetes version that
# the development cluster pins and of our own kinds. ServiceMonitor belongs to another project, which is not asked.
schemas() {
    python -m hack.lint.json_schemas "$scratch/schemas"
}

conform() {
    kubeconform -strict -summary -skip ServiceMonitor -schema-location \
        "$scratch/schemas/{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json" "$@"
}

rendered() {
    "$@" >"$scratch/rendered" && conform "$scratch/rendered"
}

samples() {
    for file in manifests/samples/*.yaml; do
        [ "$file" = manifests/samples/kustomization.yaml ] || conform "$file" || return 1
    done
}

check 'ruff check' ruff check .
check 'ruff format' ruff format --check .
check 'mypy' mypy
check 'import-linter' lint-imports
check 'deptry' deptry .
check 'shellcheck' shellcheck_all
check 'generated files' python -m hack.generate --check
check 'tree' python -m hack.lint.tree
check 'helm lint' helm_lint
check 'schemas' schemas
check 'chart: default' rendered helm template pgwarden charts/pgwarden --namespace pgwarden-system
check 'chart: all of it' rendered helm template pgwarden charts/pgwarden --namespace pgwarden-system \
    --values hack/lint/values-everything.yaml
check 'chart: crds' rendered helm template pgwarden-crds charts/pgwarden-crds
check 'overlay: cluster-wide' rendered kubectl kustomize manifests/overlays/cluster-wide
check 'overlay: single-namespace' rendered kubectl kustomize manifests/overlays/single-namespace
check 'samples: kustomization' rendered kubectl kustomize manifests/samples
check 'samples: files' samples
[ -z "$failed" ]
