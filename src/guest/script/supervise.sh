# Runs a script in a session of its own, its output into its log, and tells of the log as it grows. A watcher ends the
# session when the time is up, or when nobody listens any more. Standard output is the log's; standard error says that
# we are there, a dot every few seconds, and in the end how it ended.

cd || exit 1
dir=$HOME/$folder
file=$dir/$file
log=$dir/$log
setsid=$(command -v setsid) || { printf '\nanole: no setsid\n' >&2; exit 0; }
shell=$(command -v bash || command -v sh)
[ "$keep" = yes ] || rm -f "$dir/done"
( umask 077; : >"$log" ) || exit 1

first=
IFS= read -r first <"$file"
case $first in
    '#!'*) set -- "$file" ;;
    *) set -- "$shell" "$file" ;;
esac

seconds() {
    read -r up _ </proc/uptime
    printf '%s\n' "${up%%.*}"
}

# What is new in the log; of very much at once, the end.
tell() {
    size=$(wc -c <"$log")
    size=$((size))
    [ "$size" -gt "$offset" ] || return 0
    if [ $((size - offset)) -gt 1048576 ]; then
        printf '\n[... %s bytes are only in the log on the server ...]\n' "$((size - offset - 262144))" || return 1
        offset=$((size - 262144))
        tail -c "+$((offset + 1))" "$log" | head -c "$((size - offset))" | sed 1d || return 1
    else
        tail -c "+$((offset + 1))" "$log" | head -c "$((size - offset))" || return 1
    fi
    offset=$size
}

# It is told of the end by a file: a signal may come at a bad moment, and shells get that wrong.
watch() {
    trap '' PIPE HUP INT TERM
    offset=0
    beat=5
    began=$(seconds)
    while :; do
        # Looked for first: what was printed before the end is told after this.
        [ -e "$over" ] && ended=yes || ended=
        tell || { how=4; break; }
        [ -z "$ended" ] || exit 0
        # Nobody is left to tell us.
        kill -0 $$ 2>/dev/null || { how=4; break; }
        now=$(($(seconds) - began))
        [ "$now" -lt "$limit" ] || { how=3; break; }
        if [ "$now" -ge "$beat" ]; then
            printf . >&2 || { how=4; break; }
            beat=$((now + 5))
        fi
        if [ "$now" -lt 10 ]; then nap; else sleep 1 </dev/null >/dev/null 2>&1; fi
    done
    end_session
    tell
    exit "$how"
}

# The environment is the script's alone.
( environment; exec "$setsid" "$@" ) </dev/null >>"$log" 2>&1 &
leader=$!
( umask 077; printf '%s %s %s\n' "$leader" "$(started "$leader")" "$(boot)" >"$dir/pid" )

over=$dir/over.$leader
rm -f "$over"
watch </dev/null &
watcher=$!

give_up() {
    trap '' TERM HUP INT
    end_session
    ( : >"$over" )
    wait "$watcher"
    rm -f "$over"
    exit 1
}
trap give_up TERM HUP INT

wait "$leader"
status=$?
( : >"$over" ) || kill -KILL "$watcher"
wait "$watcher"
how=$?
rm -f "$over"

# Unless another run began meanwhile.
if { read -r owner _; } 2>/dev/null <"$dir/pid" && [ "$owner" = "$leader" ]; then
    rm -f "$dir/pid"
fi
case $how in
    3) end=late ;;
    4) end=alone ;;
    *) end="end $status" ;;
esac
if [ "$keep" = yes ]; then
    [ "$end" != 'end 0' ] || rm -f "$dir/done"
else
    [ "$end" != 'end 0' ] || ( : >"$dir/done" )
fi
printf '\nanole: %s\n' "$end" >&2
exit 0
