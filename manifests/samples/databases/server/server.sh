#!/bin/sh
# Runs one member of a sample PostgreSQL cluster: sh server.sh DATABASE
#
# Pod 0 of the StatefulSet is the primary and makes its data folder with initdb; any other is a streaming standby and
# takes a base backup of pod 0. Both are made beside their final place and renamed into it when they are complete, so
# a pod that dies in between starts over. Passwords come from files and go nowhere but into a file of this pod.
set -eu
umask 077

database=$1
pod=$(uname -n)
ordinal=${pod##*-}
primary=${pod%-*}-0.${pod%-*}
volume=/data
data=$volume/pgdata
unfinished=$volume/pgdata.unfinished
secrets=/secrets
server=/server
private=/tmp/private

say() {
    echo "server.sh: $*" >&2
}

# The passfile of the standby's connection (PostgreSQL documentation, "The Password File"): a password may hold any
# character, and these two must be escaped in it.
write_passfile() {
    mkdir -p "$private"
    password=$(sed -e 's/\\/\\\\/g' -e 's/:/\\:/g' "$secrets/backup/password")
    printf '*:*:*:%s:%s\n' "$(cat "$secrets/backup/username")" "$password" >"$private/passfile"
}

make_primary() {
    say "making the primary with initdb"
    initdb --pgdata="$unfinished" --username=postgres --pwfile="$secrets/superuser/password" \
        --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 \
        --data-checksums >&2
    # A server that only this script can reach makes the roles and the database.
    mkdir -p "$private"
    echo 'local all all trust' >"$private/hba.conf"
    pg_ctl --pgdata="$unfinished" --wait --silent start \
        --options="-c listen_addresses= -c unix_socket_directories=$private -c hba_file=$private/hba.conf"
    psql --host="$private" --username=postgres --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
        --set=database="$database" --set=secrets="$secrets" --file="$server/roles.sql" >&2
    pg_ctl --pgdata="$unfinished" --wait --silent --mode=fast stop
}

make_standby() {
    say "making a standby from $primary"
    until pg_isready --quiet --host="$primary"; do
        say "waiting for $primary"
        sleep 2
    done
    pg_basebackup --pgdata="$unfinished" --dbname="$(connection)" --checkpoint=fast --wal-method=stream
    touch "$unfinished/standby.signal"
}

connection() {
    printf 'host=%s user=%s passfile=%s application_name=%s' \
        "$primary" "$(cat "$secrets/backup/username")" "$private/passfile" "$pod"
}

[ "$ordinal" -eq 0 ] || write_passfile
if [ ! -s "$data/PG_VERSION" ]; then
    if [ -e "$data" ]; then
        say "$data is there but holds no database; it is left as it is"
        exit 1
    fi
    rm -rf "$unfinished"
    if [ "$ordinal" -eq 0 ]; then make_primary; else make_standby; fi
    mv "$unfinished" "$data"
fi
# Kubernetes gives the volume's group access to all in it, and PostgreSQL refuses to start then.
chmod 0700 "$data"

set -- -D "$data" -c "config_file=$server/postgresql.conf" -c "hba_file=$server/pg_hba.conf" \
    -c "ident_file=$data/pg_ident.conf"
if [ "$ordinal" -ne 0 ]; then
    set -- "$@" -c "primary_conninfo=$(connection)"
fi
if [ -s /tls/tls.crt ]; then
    set -- "$@" -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key
fi
exec postgres "$@"
