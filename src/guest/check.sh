# Whether a filesystem of ours, whose making was interrupted, is whole. Reads only. Values: $device, $kind.
case $kind in
    ext4) e2fsck -fn "$device" >/dev/null 2>&1 ;;
    xfs) xfs_repair -n "$device" >/dev/null 2>&1 ;;
    *) exit 1 ;;
esac
