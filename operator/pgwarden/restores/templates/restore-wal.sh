#!/bin/sh
# restore_command of a recovery: asks the agent in the neighbouring container for one file of WAL and waits for it.
#
#     sh restore-wal.sh QUEUE NAME DESTINATION
#
# Exit codes as PostgreSQL reads them (documentation, "Archive Recovery": restore_command): 0 the file is there, 1 there
# is no such file. A 1 that only means "could not be fetched" makes PostgreSQL end recovery early and lose rows in
# silence; so everything but the agent's word "absent" is 255, which ends the server.
queue=$1
name=$2
destination=$3

asked=''
while :; do
    if [ -e "$queue/present/$name" ]; then
        cp "$queue/present/$name" "$destination" || exit 255
        printf '%s\n' "$name" >"$queue/last.new" && mv -f "$queue/last.new" "$queue/last"
        exit 0
    fi
    if [ -e "$queue/failed" ]; then
        exit 255
    fi
    if [ -e "$queue/absent/$name" ]; then
        exit 1
    fi
    if [ -z "$asked" ]; then
        : >"$queue/requests/$name" || exit 255
        asked=yes
    fi
    sleep 0.05 2>/dev/null || sleep 1 || exit 255
done
