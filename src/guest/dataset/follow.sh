# Tells of a delivery's output as it grows, from about its end on, for $limit seconds at most. Standard error says that we
# are there, a dot every few seconds, and in the end what was found. Values: $folder, $limit.
cd || exit 1
dir=$HOME/$folder
out=$dir/out
seconds() { read -r up _ </proc/uptime; printf '%s\n' "${up%%.*}"; }
goes() {
    { read -r leader born boot_id; } 2>/dev/null <"$dir/pid" &&
        [ "$boot_id" = "$(boot)" ] && [ "$(started "$leader")" = "$born" ]
}
offset=$(($(wc -c <"$out") - 1000)) || exit 1
[ "$offset" -ge 0 ] || offset=0
began=$(seconds)
beat=5
while :; do
    # Looked for first: what was printed before the end is told after this.
    found=
    if [ -e "$dir/status" ]; then found=over; elif ! goes; then found=gone; fi
    # It may have ended between the two looks.
    [ "$found" != gone ] || [ ! -e "$dir/status" ] || found=over
    size=$(($(wc -c <"$out")))
    if [ "$size" -gt "$offset" ]; then
        tail -c "+$((offset + 1))" "$out" | head -c "$((size - offset))" || exit 1
        offset=$size
    fi
    now=$(($(seconds) - began))
    [ -n "$found" ] || [ "$now" -lt "$limit" ] || found=still
    [ -z "$found" ] || break
    if [ "$now" -ge "$beat" ]; then
        printf . >&2 || exit 1
        beat=$((now + 5))
    fi
    nap
done
printf '\nanole: %s\n' "$found" >&2
