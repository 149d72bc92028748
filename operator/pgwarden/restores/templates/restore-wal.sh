#!/bin/sh
# restore_command of a recovery: asks the agent in the neighbouring container for one file of WAL and waits for it.
#
#     sh restore-wal.sh QUEUE NAME DESTINATION
#
# Exit codes: 0 the file is there; 3 the agent says that there is no such file; anything else, whoever it comes from,
# is a failure. PostgreSQL takes every code up to 125 for "no such file" and then ends recovery early, with rows missing
# and nobody told; so restore_command makes 1 of this 3, and 255, which ends the server, of all the rest
# (PostgreSQL documentation, "Archive Recovery": restore_command).
queue=$1
name=$2
destination=$3

while :; do
    if [ -e "$queue/present/$name" ]; then
        if cp "$queue/present/$name" "$destination"; then
            printf '%s\n' "$name" >"$queue/last.new" && mv -f "$queue/last.new" "$queue/last"
            exit 0
        fi
        # The agent may have cleared it away in this very moment; then it is asked for again.
        [ ! -e "$queue/present/$name" ] || exit 255
    fi
    if [ -e "$queue/failed" ]; then
        exit 255
    fi
    if [ -e "$queue/absent/$name" ]; then
        exit 3
    fi
    if [ ! -e "$queue/requests/$name" ]; then
        printf '' >"$queue/requests/$name" || exit 255
    fi
    sleep 0.05 2>/dev/null || sleep 1 || exit 255
done
