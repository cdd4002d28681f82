# Lets partition and filesystem fill their disk, while mounted. Values: $disk, $device, $kind, $path.
set -u
fail() { echo "$1" >&2; exit 1; }
settle() { if command -v udevadm >/dev/null; then udevadm settle --timeout=10 || true; fi; }
if [ "$(readlink -f "$disk")" != "$(readlink -f "$device")" ]; then
    name=$(basename "$(readlink -f "$device")")
    number=$(cat "/sys/class/block/$name/partition")
    start=$(cat "/sys/class/block/$name/start"); size=$(cat "/sys/class/block/$name/size")
    sectors=$(($(blockdev --getsize64 "$disk") / 512))
    # A table's backup lies at the end, and partitions end at a whole MiB.
    if [ $((sectors - start - size)) -gt 4096 ]; then
        before=$(sfdisk --dump "$disk") || fail "cannot read the partitions of $disk"
        [ "$(printf '%s\n' "$before" | grep -c '^/dev/')" = 1 ] ||
            fail "$disk has several partitions; the last one does not grow by itself"
        printf '%s\n' "$before" | sed '/^last-lba:/d; s/size= *[0-9]*, *//' |
            sfdisk --quiet --no-reread --force "$disk" >/dev/null || fail "cannot grow partition $number of $disk"
        sync
        partx --update --nr "$number" "$disk" || fail "the kernel does not take the new size of $device"
        settle
    fi
fi
case $kind in
    ext4) resize2fs "$device" >/dev/null 2>&1 || resize2fs "$device" || fail "cannot grow the filesystem on $device" ;;
    xfs) xfs_growfs "$path" >/dev/null || fail "cannot grow the filesystem at $path" ;;
esac
