# Makes a filesystem on a disk that was found blank, or on which our own making of it was interrupted.
# Values: $disk, $kind, $uuid, $partuuid (empty for the whole disk), $again (yes where ours was interrupted).
set -u
fail() { echo "$1" >&2; exit "${2:-1}"; }
settle() { if command -v udevadm >/dev/null; then udevadm settle --timeout=10 || true; fi; }
case $kind in
    ext4) command -v mkfs.ext4 >/dev/null || fail 'mkfs.ext4 is not there; install e2fsprogs' 69 ;;
    xfs) command -v mkfs.xfs >/dev/null || fail 'mkfs.xfs is not there; install xfsprogs' 69 ;;
    *) fail "no program makes $kind" ;;
esac

# One at a time: what was cut off from here may still be at work. Its mkfs holds the lock, whatever became of its shell.
command -v flock >/dev/null || fail 'flock is not there; install util-linux' 69
exec 9>"/run/anole-$(basename "$disk").lock" && flock 9 || fail "cannot lock $disk"

# Nothing may have come between the look and this.
if [ "$again" != yes ]; then
    found=$(wipefs --no-act --noheadings --output TYPE "$disk") || fail "cannot look at $disk"
    [ -z "$found" ] || fail "$disk holds $found by now; nothing was done" 65
fi

target=$disk
if [ -n "$partuuid" ]; then
    command -v sfdisk >/dev/null || fail 'sfdisk is not there; install fdisk' 69
    link=/dev/disk/by-partuuid/$partuuid
    settle
    if [ ! -e "$link" ]; then
        # One partition over all of it, from the first MiB on, as parted's `mkpart primary 0% 100%` makes it.
        printf 'label: gpt\nstart=1MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=%s\n' "$partuuid" |
            sfdisk --quiet --wipe never --wipe-partitions never "$disk" || fail "cannot partition $disk"
        sync
    fi
    tries=0
    while [ ! -e "$link" ]; do
        tries=$((tries + 1)); [ "$tries" -le 50 ] || fail "the partition on $disk does not show"
        settle; sleep 0.2
    done
    target=$(readlink -f "$link")
else
    # What an interrupted mkfs leaves of a whole disk cannot be told from anybody's data, but by this mark: it lies where
    # neither mkfs writes, and is free space to the filesystem afterwards.
    bytes=$(blockdev --getsize64 "$disk")
    printf 'anole is making filesystem %s here\n' "$uuid" |
        dd of="$disk" bs=1024 seek=$((bytes / 1024 - 512)) conv=notrunc,fsync 2>/dev/null || fail "cannot write to $disk"
fi

# Flags: the target was looked at, and no question can be answered here.
case $kind in
    ext4) mkfs.ext4 -q -F -U "$uuid" "$target" ;;
    xfs) mkfs.xfs -q -f -m uuid="$uuid" "$target" ;;
esac || fail "mkfs.$kind failed on $target"
sync
settle
made=$(blkid -p -s UUID -o value "$target")
[ "$made" = "$uuid" ] || fail "$target has UUID $made, not $uuid"
echo "made $target"
