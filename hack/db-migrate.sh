#!/bin/sh
# Migrations by hand: db-migrate.sh status|up|down. For a database that a DSN leads to,
#     DSN=postgresql://... SOURCE=folder [TO=version]
# or for a DatabaseMigration, which the operator carries out,
#     MIGRATION=name [NAMESPACE=default] [TO=version]
set -eu
cd "$(dirname "$0")/.."
verb=$1
to=${TO:-}

if [ -n "${DSN:-}" ]; then
    : "${SOURCE:?say SOURCE=folder: the folder with the migration files}"
    set -- --dsn "$DSN" --source "$SOURCE"
    if [ "$verb" = down ]; then
        : "${to:?say TO=version: where to go down to}"
    fi
    if [ "$verb" != status ] && [ -n "$to" ]; then
        set -- "$@" --to "$to"
    fi
    PYTHONPATH=operator exec .venv/bin/python -m pgwarden migrate "$verb" "$@"
fi
if [ -z "${MIGRATION:-}" ]; then
    echo "db-migrate.sh: say DSN=... and SOURCE=folder, or MIGRATION=name and NAMESPACE=..." >&2
    exit 2
fi

# The development cluster's kubectl, unless the shell leads to another cluster.
if [ -z "${KUBECONFIG:-}" ]; then
    eval "$(hack/cluster/cluster env)"
fi
object="databasemigration/$MIGRATION"
namespace=${NAMESPACE:-default}
case $verb in
    status) ;;
    up)
        patch="{\"spec\": {\"version\": $([ -n "$to" ] && printf '"%s"' "$to" || echo null), \"down\": {\"allow\": false}}}"
        kubectl --namespace "$namespace" patch "$object" --type merge --patch "$patch"
        ;;
    down)
        : "${to:?say TO=version: where to go down to}"
        patch="{\"spec\": {\"version\": \"$to\", \"down\": {\"allow\": true}}}"
        kubectl --namespace "$namespace" patch "$object" --type merge --patch "$patch"
        ;;
    *)
        echo "db-migrate.sh: $verb is neither status, up nor down" >&2
        exit 2
        ;;
esac
if [ "$verb" != status ]; then
    generation=$(kubectl --namespace "$namespace" get "$object" --output 'jsonpath={.metadata.generation}')
    kubectl --namespace "$namespace" wait "$object" --timeout 60s \
        --for "jsonpath={.status.observedGeneration}=$generation" >/dev/null
    kubectl --namespace "$namespace" wait "$object" --timeout 600s \
        --for 'jsonpath={.status.conditions[?(@.type=="Reconciling")].status}=False' >/dev/null
fi
kubectl --namespace "$namespace" get "$object" --output wide
ready=$(kubectl --namespace "$namespace" get "$object" --output 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
[ "$verb" = status ] || [ "$ready" = True ]
