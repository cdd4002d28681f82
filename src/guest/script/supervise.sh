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

watch() {
    trap 'last=yes' TERM
    trap '' PIPE HUP INT
    offset=0
    last=
    round=0
    began=$(seconds)
    while :; do
        tell || { how=4; break; }
        [ -z "$last" ] || exit 0
        round=$((round + 1))
        [ $((round % 5)) -ne 0 ] || printf . >&2 || { how=4; break; }
        [ $(($(seconds) - began)) -lt "$limit" ] || { how=3; break; }
        sleep 1 </dev/null >/dev/null 2>&1 &
        wait $!
    done
    end_session
    tell
    exit "$how"
}

# The environment is the script's alone.
( environment; exec "$setsid" "$@" ) </dev/null >>"$log" 2>&1 &
leader=$!
( umask 077; printf '%s %s %s\n' "$leader" "$(started "$leader")" "$(boot)" >"$dir/pid" )

watch </dev/null &
watcher=$!

give_up() {
    trap '' TERM HUP INT
    end_session
    kill "$watcher" 2>/dev/null
    exit 1
}
trap give_up TERM HUP INT

wait "$leader"
status=$?
kill "$watcher" 2>/dev/null
wait "$watcher"
how=$?
if [ "$how" -gt 128 ]; then
    # It was told so early that it had not begun: nothing is told yet.
    offset=0
    tell
fi

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
    [ "$end" != 'end 0' ] || : >"$dir/done"
fi
printf '\nanole: %s\n' "$end" >&2
exit 0
