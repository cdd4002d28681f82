# Processes are told by the session they are in: a script is the leader of one. What is in it is found in /proc.

boot() { cat /proc/sys/kernel/random/boot_id; }

# When a process started, in ticks since the boot: with it, a number that is used again is told from the one it was.
started() {
    { IFS= read -r line; } 2>/dev/null <"/proc/$1/stat" || return 1
    line=${line##*) }
    set -- $line
    printf '%s\n' "${20}"
}

# The living processes of the session of $leader, into $found.
members() {
    found=
    for stat in /proc/[0-9]*/stat; do
        { IFS= read -r line; } 2>/dev/null <"$stat" || continue
        pid=${stat#/proc/}
        pid=${pid%/stat}
        line=${line##*) }
        set -- $line
        [ "$4" = "$leader" ] || [ "$pid" = "$leader" ] || continue
        [ "$1" = Z ] || found="$found $pid"
    done
}

# As root too, where that is allowed: a script may have started something with sudo.
signal_members() {
    members
    [ -n "$found" ] || return 1
    kill "-$1" $found 2>/dev/null || sudo -n kill "-$1" $found >/dev/null 2>&1 </dev/null
    return 0
}

nap() { sleep 0.2 </dev/null >/dev/null 2>&1 || sleep 1 </dev/null >/dev/null 2>&1; }

# Ends the session of $leader: it is asked to, and made to ten seconds later.
end_session() {
    signal_members TERM || return 0
    naps=0
    while [ "$naps" -lt 50 ]; do
        nap
        naps=$((naps + 1))
        members
        [ -n "$found" ] || return 0
    done
    signal_members KILL
    nap
    members
    [ -z "$found" ]
}
