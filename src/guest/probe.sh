# What is on a disk, read only. Values: $disk, a path below /dev; $deep, yes where it matters that there is nothing at all.
# Every line of the answer begins with a word that says what it is; the last one is `end`.
settle() { if command -v udevadm >/dev/null; then udevadm settle --timeout=10 || true; fi; }
need() { command -v "$1" >/dev/null || { echo "$1 is not there; install $2" >&2; exit 69; }; }
need blkid util-linux; need wipefs util-linux; need blockdev util-linux

# How many bytes of a piece of the disk are not zero: offset and length in KiB. What cannot be read is not blank.
piece() { dd if="$disk" bs=1024 skip="$1" count="$2" 2>/dev/null || echo unreadable; }
count() { tr -d '\000' | wc -c | tr -d ' '; }
used() { piece "$1" "$2" | count; }

# The signatures of a device: type and offset of each, then what the one that counts says of itself.
signatures() {
    wipefs --no-act --noheadings --output TYPE,OFFSET "$1" | while read -r type offset; do
        echo "signature $1 $type $offset"
    done
    blkid -p -o export "$1" >"$answer" 2>/dev/null
    case $? in
        8) echo "ambivalent $1" ;;
        0) sed -n "s,^\(TYPE\|UUID\|USAGE\|PTTYPE\|PART_ENTRY_UUID\)=,tag $1 \1 ,p" "$answer" ;;
    esac
}

settle
answer=$(mktemp) || exit 1
trap 'rm -f "$answer"' EXIT
name=$(basename "$(readlink -f "$disk")")
bytes=$(blockdev --getsize64 "$disk") || exit 1
kib=$((bytes / 1024))
echo "size $bytes"
if [ "$(cat "/sys/class/block/$name/ro" 2>/dev/null)" = 1 ]; then echo "readonly $disk"; fi
signatures "$disk"
for part in /sys/class/block/"$name"/"$name"*; do
    [ -e "$part/partition" ] || continue
    device=/dev/$(basename "$part")
    echo "partition $device $(cat "$part/start") $(cat "$part/size")"
    signatures "$device"
done
for holder in /sys/class/block/"$name"/holders/* /sys/class/block/"$name"/"$name"*/holders/*; do
    [ -e "$holder" ] || continue
    echo "holder $(cat "$holder/dm/name" 2>/dev/null || basename "$holder")"
done
# A filesystem may begin where a partition began whose table is gone.
set -- 1048576 32256
for part in /sys/class/block/"$name"/"$name"*; do
    if [ -e "$part/partition" ]; then set --; fi
done
for offset; do
    type=$(blkid -p -O "$offset" -o value -s TYPE "$disk" 2>/dev/null)
    if [ -n "$type" ]; then echo "lost $type $offset"; fi
done
if [ "$deep" = yes ]; then
    first=1024; if [ "$kib" -lt 1024 ]; then first=$kib; fi
    echo "used first $(used 0 "$first")"
    echo "used last $(used $((kib - first)) "$first")"
    # Between them a sample: 64 pieces of 64 KiB, counted together.
    step=$((kib / 65)); at=1; last=64
    if [ "$step" -lt 64 ]; then last=0; fi
    sample=$(
        while [ "$at" -le "$last" ]; do
            piece $((at * step)) 64
            at=$((at + 1))
        done | count
    )
    echo "used sample $sample"
fi
echo "mark $(dd if="$disk" bs=1024 skip=$((kib - 512)) count=1 2>/dev/null | tr -d '\000' | head -c 200 | tr '\n' ' ')"
echo end
