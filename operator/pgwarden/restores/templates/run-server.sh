#!/bin/sh
# Runs the PostgreSQL server of a restore until the agent in the neighbouring container says stop.
#
#     sh run-server.sh FOLDER
#
# It runs in the user's own server image, so it asks for nothing but a POSIX shell and the usual utilities. FOLDER is
# the scratch volume both containers share; server.settings in it says what to run. Both sides leave files there:
#
#     agent:  agent.heartbeat (a counter), start, stop, again (start once more a server that ended by itself)
#     here:   server.heartbeat (a counter), server.version, server.log, server.exit (the server's exit code)
#
# Exit code: 0 when the agent said stop and the server shut down cleanly (or had never been started), else not 0.
set -u
umask 077
shared=$1
# shellcheck source=/dev/null
. "$shared/server.settings"
: "${data_directory:?}" "${config_file:?}" "${major:?}" "${agent_patience_seconds:?}"

put() {
    printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"
}

find_postgres() {
    for folder in "/usr/lib/postgresql/$major/bin" "/usr/pgsql-$major/bin"; do
        if [ -x "$folder/postgres" ]; then
            printf '%s\n' "$folder/postgres"
            return
        fi
    done
    command -v postgres
}

# Not every sleep knows fractions of a second.
if sleep 0.1 2>/dev/null; then
    pause=0.1 pauses_between_beats=10
else
    pause=1 pauses_between_beats=1
fi

pauses=0 beats=0 heard='' silent_beats=0 heard_at=$(date +%s)

# Waits a little and keeps the heartbeat; fails once the agent has been silent for longer than it may. Beats are
# counted beside the clock, because a clock may jump.
wait_a_little() {
    sleep "$pause"
    pauses=$((pauses + 1))
    [ "$((pauses % pauses_between_beats))" -eq 0 ] || return 0
    beats=$((beats + 1))
    put "$shared/server.heartbeat" "$beats"
    said=''
    [ ! -e "$shared/agent.heartbeat" ] || read -r said <"$shared/agent.heartbeat"
    now=$(date +%s)
    if [ "$said" != "$heard" ]; then
        heard=$said heard_at=$now silent_beats=0
    fi
    silent_beats=$((silent_beats + 1))
    [ "$((now - heard_at))" -le "$agent_patience_seconds" ] || [ "$silent_beats" -le 3 ]
}

terminated=''
trap 'terminated=yes' TERM INT HUP

put "$shared/server.heartbeat" "$beats"
if postgres=$(find_postgres); then
    put "$shared/server.version" "$("$postgres" --version)"
else
    put "$shared/server.version" "no program named postgres"
fi

until [ -e "$shared/start" ]; do
    if [ -e "$shared/stop" ]; then
        exit 0
    fi
    if ! wait_a_little || [ -n "$terminated" ]; then
        echo "run-server: ended before the server was started" >&2
        exit 1
    fi
done

# Starts the server and waits for its end. The log goes to whoever reads the container's output and, for the agent's
# error messages, into a file.
run_server() {
    rm -f "$shared/server.pipe" "$shared/server.exit" "$shared/server.pid"
    # Only now: the agent takes it for the word that the server runs once more.
    rm -f "$shared/again"
    mkfifo "$shared/server.pipe"
    tee "$shared/server.log" <"$shared/server.pipe" &
    (
        "$postgres" -D "$data_directory" -c "config_file=$config_file" >"$shared/server.pipe" 2>&1 &
        put "$shared/server.pid" "$!"
        wait "$!"
        put "$shared/server.exit" "$?"
    ) &
    until [ -e "$shared/server.exit" ]; do
        if [ -z "$reason" ]; then
            # The first reason counts: an agent whose server goes away says stop, too.
            if [ -n "$terminated" ]; then
                reason="this container is told to end"
            elif [ -e "$shared/stop" ]; then
                told=yes reason="the agent said so"
            fi
        fi
        wait_a_little || reason=${reason:-"the agent has been silent for more than $agent_patience_seconds seconds"}
        if [ -n "$reason" ] && [ -s "$shared/server.pid" ]; then
            [ -n "$announced" ] || echo "run-server: fast shutdown, because $reason" >&2
            announced=yes
            # SIGINT is PostgreSQL's fast shutdown (PostgreSQL documentation, "Shutting Down the Server"). It is sent
            # again and again: a server that has just been started does not listen yet, and one that shuts down does
            # not mind.
            read -r server <"$shared/server.pid"
            kill -INT "$server" 2>/dev/null
        fi
    done
    wait
    read -r code <"$shared/server.exit"
}

# A server that ended by itself: the agent reads why, and may have it started again with another configuration.
agent_wants_it_again() {
    until [ -e "$shared/again" ]; do
        if [ -e "$shared/stop" ] || [ -n "$terminated" ] || ! wait_a_little; then
            return 1
        fi
    done
}

told='' reason='' announced='' code=''
run_server
while [ -z "$reason" ] && agent_wants_it_again; do
    run_server
done
if [ "$code" -eq 0 ] && [ -z "$told" ]; then
    code=1
fi
exit "$code"
