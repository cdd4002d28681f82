# shellcheck shell=bash  # sourced
# The second site's object store: one monitor, manager, storage daemon and gateway (S3 and Swift APIs, users in Keystone).

CEPH_LIBRARIES=$CEPH_ROOT/usr/lib/x86_64-linux-gnu
CEPH_LIBRARIES+=:$CEPH_LIBRARIES/ceph:$CEPH_ROOT/lib/x86_64-linux-gnu

ceph_env() {
    env LD_LIBRARY_PATH="$CEPH_LIBRARIES" CEPH_ARGS=--no-mon-config \
        PYTHONPATH="$CEPH_ROOT/usr/lib/python3/dist-packages" PYTHONDONTWRITEBYTECODE=1 \
        PATH="$CEPH_ROOT/usr/bin:$CEPH_ROOT/usr/sbin:/usr/bin:/bin:/usr/sbin:/sbin" "$@"
}

ceph_command() { ceph_env env -u CEPH_ARGS python3 "$CEPH_ROOT/usr/bin/ceph" -c "$CEPH_CONF" --connect-timeout 5 "$@"; }
gateway_admin() { ceph_env radosgw-admin -c "$CEPH_CONF" -n client.rgw "$@"; }

# Not by ceph_env: a function cannot be started in a process group of its own.
start_ceph_daemon() { # name program options...
    local name=$1
    shift
    start "ceph-$name" env LD_LIBRARY_PATH="$CEPH_LIBRARIES" CEPH_ARGS=--no-mon-config \
        "$CEPH_ROOT/usr/bin/$1" -c "$CEPH_CONF" "${@:2}" -f
}

# Before the configuration is written: it holds the cluster's id and names the certificate.
prepare_ceph() {
    mkdir -p "$VAR/ceph" "$ETC/ceph"
    [[ -f $VAR/ceph/fsid ]] || cat /proc/sys/kernel/random/uuid > "$VAR/ceph/fsid"
    # Not one of an authority, as openssl makes them unless it is told: rustls takes no such certificate from a server.
    running ceph-rgw || openssl x509 -noout -ext basicConstraints -in "$ETC/ceph/tls.crt" 2> /dev/null | grep -q CA:FALSE || {
        openssl req -x509 -newkey rsa:2048 -nodes -keyout "$ETC/ceph/tls.key" -out "$ETC/ceph/tls.crt" -days 3650 \
            -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
            -addext basicConstraints=critical,CA:FALSE 2> /dev/null
        cat "$ETC/ceph/tls.key" "$ETC/ceph/tls.crt" > "$ETC/ceph/tls.pem"
    }
}

make_keyring() {
    local add=(ceph_env ceph-authtool "$VAR/ceph/keyring" --gen-key)
    "${add[@]}" -C -n mon. --cap mon 'allow *'
    "${add[@]}" -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    "${add[@]}" -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *'
    "${add[@]}" -n osd.0 --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd 'allow *'
    "${add[@]}" -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
}

make_monitor() {
    local folder=$VAR/ceph
    mkdir -p "$folder"/{mon,mgr,osd,rgw,mgr-modules}
    make_keyring
    ceph_env monmaptool --create --clobber --fsid "$(cat "$folder/fsid")" \
        --addv a "[v2:127.0.0.1:$PORT_MON,v1:127.0.0.1:$PORT_MON_V1]" "$folder/monmap"
    ceph_env ceph-mon -c "$CEPH_CONF" --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
}

make_storage() {
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    ceph_command osd new "$id"
    ceph_env ceph-osd -c "$CEPH_CONF" -i 0 --mkfs --osd-uuid "$id"
}

storage_is_up() { ceph_command osd stat | grep -q '1 up'; }
gateway_answers() { curl -fs -m 5 "http://127.0.0.1:$PORT_RGW/"; }

start_ceph() {
    local fresh='' made=$VAR/ceph/made
    [[ -f $made ]] || fresh=1
    [[ -z $fresh ]] || make_monitor > "$LOG/ceph-make.out" 2>&1
    start_ceph_daemon mon ceph-mon -i a
    wait_for "Ceph's monitor" 60 ceph-mon ceph_command mon stat
    start_ceph_daemon mgr ceph-mgr -i x
    [[ -z $fresh ]] || make_storage >> "$LOG/ceph-make.out" 2>&1
    start_ceph_daemon osd ceph-osd -i 0
    wait_for "Ceph's storage daemon" 90 ceph-osd storage_is_up
    start_ceph_daemon rgw radosgw -n client.rgw
    wait_for "Ceph's gateway" 240 ceph-rgw gateway_answers
    touch "$made"
}

# The gateway makes its users anew when they next sign in.
empty_ceph() {
    local user
    for user in $(gateway_admin user list | python -c 'import json, sys; print(*json.load(sys.stdin))'); do
        gateway_admin user rm --uid="$user" --purge-data
    done
}
