# Unmounts a bucket, once all that was written is in it, and takes its service away. Values: $service, $path.
set -u
fail() { echo "$1" >&2; exit "${2:-1}"; }
field=$(printf '%s' "$path" | sed 's/\\/\\134/g; s/ /\\040/g; s/	/\\011/g')
mounted() { field=$field awk '$5 == ENVIRON["field"] { found = substr($0, index($0, " - ") + 3) } END { print found }' /proc/self/mountinfo; }
file=/etc/systemd/system/$service.service
cache=/var/cache/$service
# Without its service, what is mounted there is somebody else's.
[ -e "$file" ] || { rm -f "/etc/anole/buckets/$service.conf"; exit 0; }

# What rclone has still to upload is marked so in its cache.
waiting() { grep -rlE '"Dirty": *true' "$cache/vfsMeta" 2>/dev/null | wc -l; }
tries=0
while left=$(waiting) && [ "$left" -gt 0 ]; do
    systemctl -q is-active "$service" || fail "$left files are not in the bucket yet, and its service does not run: systemctl start $service" 74
    [ "$tries" -lt 900 ] || fail "$left files are not in the bucket yet: journalctl -u $service says why" 74
    [ $((tries % 5)) -ne 0 ] || echo "step uploading: $left files left"
    tries=$((tries + 1))
    sleep 1
done
case $(mounted) in
    fuse*)
        said=$(umount "$path" 2>&1) || {
            echo "$said" >&2
            users "$path"
            exit 75
        }
        ;;
esac
# It ends by itself, after what it has under way.
tries=0
while systemctl -q is-active "$service" && [ "$tries" -lt 60 ]; do tries=$((tries + 1)); sleep 0.5; done
systemctl -q disable --now "$service" || fail "cannot stop $service"
left=$(waiting)
[ "$left" -eq 0 ] || fail "$left files are not in the bucket yet; they are kept in $cache" 74
rm -rf "$cache" "/etc/anole/buckets/$service.conf"
rm -f "$file"
systemctl daemon-reload
