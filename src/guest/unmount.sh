# Unmounts a filesystem wherever it is mounted, and takes its entry out of fstab. Values: $uuid, $tag.
set -u
fail() { echo "$1" >&2; exit "${2:-1}"; }
reload() { if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi; }
unescaped() { printf '%b' "$(printf '%s' "$1" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')"; }

device=$(readlink -f "/dev/disk/by-uuid/$uuid" 2>/dev/null)
[ -b "$device" ] || device=$(blkid -U "$uuid" 2>/dev/null)
if [ -b "$device" ]; then
    number=$(cat "/sys/class/block/$(basename "$device")/dev")
    # The last one that was mounted goes first.
    awk -v number="$number" '$3 == number { print $5 }' /proc/self/mountinfo | sed -n '1!G;h;$p' | while read -r field; do
        path=$(unescaped "$field"; printf x); path=${path%x}
        sync -f "$path" 2>/dev/null || sync
        said=$(umount "$path" 2>&1) && continue
        echo "$said" >&2
        users "$path"
        exit 75
    done || exit $?
    # A container has mounts of its own, which stay when those here go; the mounts of services go along.
    mine=$(readlink /proc/self/ns/mnt)
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/mnt" 2>/dev/null)" != "$mine" ] || continue
        if awk -v number="$number" '$3 == number { found = 1 } END { exit !found }' "$process/mountinfo" 2>/dev/null; then
            busy "$process"
            inside=yes
        fi
    done
    if [ -n "${inside-}" ]; then
        # All as it was: whoever works in there finds the folder again from here, too.
        mount "UUID=$uuid" || echo "and mounting it again failed" >&2
        fail 'it is mounted inside a container' 75
    fi
    blockdev --flushbufs "$device" 2>/dev/null || true
fi

if grep -qF "UUID=$uuid" /etc/fstab || grep -qxF "$tag" /etc/fstab; then
    new=$(mktemp /etc/fstab.anole.XXXXXX) || fail 'cannot write to /etc'
    awk -v tag="$tag" -v uuid="UUID=$uuid" '$0 == tag { next } $1 == uuid { next } { print }' /etc/fstab >"$new" &&
        chmod --reference=/etc/fstab "$new" && chown --reference=/etc/fstab "$new" && sync "$new" && mv "$new" /etc/fstab ||
        fail 'cannot write /etc/fstab'
    reload
fi
