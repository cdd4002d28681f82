# Whether the program is there and runs; old ones are forgotten. Values: $program, below the home folder.
cd || exit 1
[ -e "$program" ] || { echo absent; exit 0; }
touch "$program"
find .anole/bin -name 'anole-*' -mtime +30 -exec rm -f {} + 2>/dev/null
if said=$("./$program" --version 2>&1); then
    echo "runs $said"
else
    printf 'fails %s %s: %s\n' "$(uname -s)" "$(uname -m)" "$(printf '%s\n' "$said" | tail -n 1)"
    rm -f "$program"
fi
