# Tells who uses a folder, a line for each process: `busy PID USER COMMAND`.
busy() { echo "busy ${1#/proc/} $(stat -c %U "$1" 2>/dev/null) $(tr '\000' ' ' <"$1/cmdline" 2>/dev/null | head -c 120)" >&2; }
users() {
    for process in /proc/[0-9]*; do
        # What it has open, runs, stands in or has mapped.
        held=$(
            {
                readlink "$process/cwd" "$process/root" "$process/exe" "$process"/fd/* 2>/dev/null
                awk '{ print $6 }' "$process/maps" 2>/dev/null
            } | folder=$1 awk '$0 == ENVIRON["folder"] || index($0, ENVIRON["folder"] "/") == 1 { print; exit }'
        )
        [ -z "$held" ] || busy "$process"
    done
}
