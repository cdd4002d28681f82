# Mounts a filesystem by its UUID, now and after every boot, and says whose its root folder is.
# Values: $uuid, $device, $kind, $path, $options, $owner, $group, $mode, $tag (a line of fstab that says whose entry it is).
set -u
fail() { echo "$1" >&2; exit "${2:-1}"; }
reload() { if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi; }
number=$(cat "/sys/class/block/$(basename "$(readlink -f "$device")")/dev") || fail "$device is not there"
where() { awk -v number="$number" '$3 == number && $4 == "/" { print $5 }' /proc/self/mountinfo; }
escaped() { printf '%s' "$1" | sed 's/\\/\\134/g; s/ /\\040/g; s/	/\\011/g'; }
field=$(escaped "$path")

[ ! -L "$path" ] || fail "$path is a symbolic link; name the folder itself" 65
[ ! -e "$path" ] || [ -d "$path" ] || fail "$path is there and is no folder" 65
# By the environment, for awk reads the `\040` of a blank in what it is given by -v.
other=$(field=$field awk -v number="$number" '$5 == ENVIRON["field"] { found = $3 == number ? "" : substr($0, index($0, " - ") + 3) } END { print found }' /proc/self/mountinfo)
[ -z "$other" ] || fail "something else is mounted at $path: $other" 65
taken=$(field=$field awk -v uuid="UUID=$uuid" '$1 !~ /^#/ && $2 == ENVIRON["field"] && $1 != uuid' /etc/fstab)
[ -z "$taken" ] || fail "/etc/fstab has another entry for $path: $taken" 65

# The entry: ours is replaced, everybody else's stays as it is.
new=$(mktemp /etc/fstab.anole.XXXXXX) || fail 'cannot write to /etc'
awk -v tag="$tag" -v uuid="UUID=$uuid" '$0 == tag { next } $1 == uuid { next } { print }' /etc/fstab >"$new" || fail 'cannot read /etc/fstab'
printf '%s\nUUID=%s %s %s %s 0 2\n' "$tag" "$uuid" "$field" "$kind" "$options" >>"$new"
if cmp -s "$new" /etc/fstab; then
    rm -f "$new"
else
    chmod --reference=/etc/fstab "$new" && chown --reference=/etc/fstab "$new" && sync "$new" && mv "$new" /etc/fstab || fail 'cannot write /etc/fstab'
    reload
fi

[ -d "$path" ] || mkdir -p "$path" || fail "cannot make $path"
if where | grep -qxF "$field"; then
    mount -o "remount,$options" "$path" || fail "cannot mount $path with its new options"
else
    if [ -n "$(ls -A "$path")" ]; then echo "hides $path"; fi
    # A device whose backing has just come may not be known by its UUID yet.
    tries=0
    while [ ! -e "/dev/disk/by-uuid/$uuid" ] && [ "$tries" -lt 25 ]; do tries=$((tries + 1)); sleep 0.2; done
    said=$(mount "$path" 2>&1) || { echo "$said" >&2; dmesg 2>/dev/null | tail -n 5 >&2; fail "cannot mount $device at $path"; }
fi
where | grep -qxF "$field" || fail "$device is not mounted at $path, though mount said so"

case $options in *,ro,*|*,ro|ro,*|ro) exit 0 ;; esac
if [ -n "$owner$group" ]; then
    chown "$owner${group:+:$group}" "$path" || fail "cannot give $path to $owner${group:+:$group}"
fi
if [ -n "$mode" ]; then chmod "$mode" "$path" || fail "cannot set the mode of $path"; fi
