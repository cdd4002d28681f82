# Mounts a bucket by a service of systemd: installs the tool, writes its configuration, tries the keys, starts it.
# Values: $service, $unit and $config (texts; the unit has @user@, @uid@ and @gid@ in it), $tool, $bucket, $path, $owner,
# $allow_other. Lines that begin with `step` say what is under way.
set -u
fail() { echo "$1" >&2; exit "${2:-1}"; }
[ -d /run/systemd/system ] || fail 'the server does not run systemd, which keeps a bucket mounted' 65
user=${owner:-${SUDO_USER:-$(id -un)}}
uid=$(id -u "$user" 2>/dev/null) || fail "there is no user $user on the server" 65
gid=$(id -g "$user")
field=$(printf '%s' "$path" | sed 's/\\/\\134/g; s/ /\\040/g; s/	/\\011/g')
mounted() { field=$field awk '$5 == ENVIRON["field"] { found = substr($0, index($0, " - ") + 3) } END { print found }' /proc/self/mountinfo; }
# Whether what is mounted answers. Asked as its user: where others are not let in, root is not either.
answers() { timeout 30 runuser -u "$user" -- stat "$path" >/dev/null 2>&1; }

# The tool: from the distribution, if it is not there.
missing=
command -v "$tool" >/dev/null 2>&1 || missing=$tool
[ "$tool" != rclone ] || command -v fusermount3 >/dev/null 2>&1 || command -v fusermount >/dev/null 2>&1 || missing="$missing fuse3"
if [ -n "$missing" ]; then
    [ "$tool" != goofys ] ||
        fail 'goofys is not on the server, and no distribution has it: install it to /usr/local/bin by a script, and name that in depends_on' 65
    echo "step installing $missing"
    if command -v apt-get >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        install() { apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing; }
        refresh() { apt-get -qq -o DPkg::Lock::Timeout=300 update; }
    elif command -v dnf >/dev/null 2>&1; then
        [ "$tool" != s3fs ] || missing=s3fs-fuse
        install() { dnf -q -y install $missing; }
        refresh() { dnf -q -y install epel-release; }
    else
        fail "$tool is not on the server, which has neither apt-get nor dnf: install it by a script, and name that in depends_on" 65
    fi
    said=$( (install || { refresh && install; }) 2>&1 >/dev/null) ||
        { printf '%s\n' "$said" | tail -n 5 >&2; fail "$missing cannot be installed: install it by a script, and name that in depends_on" 65; }
fi

file=/etc/systemd/system/$service.service
conf=/etc/anole/buckets/$service.conf
case $(mounted) in
    '') ;;
    fuse*)
        [ -e "$file" ] || fail "something else is mounted at $path: $(mounted)" 65
        # A mount whose tool died is still in the way of everything.
        answers || umount -l "$path"
        ;;
    *) fail "something else is mounted at $path: $(mounted)" 65 ;;
esac
if [ -z "$(mounted)" ]; then
    [ ! -L "$path" ] || fail "$path is a symbolic link; name the folder itself" 65
    [ ! -e "$path" ] || [ -d "$path" ] || fail "$path is there and is no folder" 65
    [ -z "$(ls -A "$path" 2>/dev/null)" ] || fail "$path is not empty; a bucket is mounted over an empty folder" 65
fi

# The configuration, for nobody but its user. $1: the file; $2: its text.
written() {
    if [ -e "$1" ] && printf '%s' "$2" | cmp -s - "$1"; then return 1; fi
    new=$(umask 077 && mktemp "$1.XXXXXX") && printf '%s' "$2" >"$new" || fail "cannot write $1"
    chown "$3" "$new" && chmod "$4" "$new" && mv "$new" "$1" || fail "cannot write $1"
}
mkdir -p /etc/anole/buckets || fail 'cannot write to /etc'
unit=$(printf '%s\n' "$unit" | sed "s/@user@/$user/g; s/@uid@/$uid/g; s/@gid@/$gid/g"; printf x)
unit=${unit%x}
same=yes
written "$conf" "$config" "$uid:$gid" 600 && same=
written "$file" "$unit" 0:0 644 && same=
if [ -n "$allow_other" ] && [ "$uid" != 0 ] && ! grep -qx 'user_allow_other' /etc/fuse.conf 2>/dev/null; then
    echo user_allow_other >>/etc/fuse.conf || fail 'cannot write /etc/fuse.conf'
fi
systemctl daemon-reload
if [ -n "$same" ] && [ -n "$(mounted)" ] && systemctl -q is-active "$service"; then exit 0; fi

# A mount comes up whatever the keys are, and then every read fails: so they are tried first. Listed is a folder that is
# not there: that takes one request however many objects the bucket has, and is refused as any other.
if [ "$tool" = rclone ]; then
    echo 'step trying the keys'
    said=$(timeout 90 rclone --config "$conf" --contimeout 15s --timeout 30s --retries 1 --low-level-retries 2 \
        lsf --max-depth 1 "store:$bucket/.anole/none/" 2>&1 >/dev/null) || {
        said=${said:-timeout: no answer within 90 seconds}
        printf '%s\n' "$said" | tail -n 1 >&2
        printf '%s\n' "$said" >&2
        exit 66
    }
fi
echo "step mounting $path"
mkdir -p "$path" || fail "cannot make $path"
[ -n "$(mounted)" ] || chown "$uid:$gid" "$path" || fail "cannot give $path to $user"
systemctl -q enable "$service" && systemctl restart "$service"
tries=0
while [ -z "$(mounted)" ] && [ "$tries" -lt 120 ] && ! systemctl -q is-failed "$service"; do tries=$((tries + 1)); sleep 0.5; done
case $(mounted) in fuse*) answers && exit 0 ;; esac
journalctl -q -u "$service" -n 12 -o cat --no-pager >&2
systemctl -q disable --now "$service" 2>/dev/null
exit 67
