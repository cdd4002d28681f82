# shellcheck shell=bash  # sourced
# The subcommands.

# Stopped last: the others talk to them until they have ended.
FOUNDATION=(rabbit epmd memcached mariadb ceph-rgw ceph-osd ceph-mgr ceph-mon)

lab_install() {
    install_packages
    install_venv
    install_ceph
    say installed
}

write_configuration() {
    local file=$ETC/keystone/keystone.conf before=
    [[ ! -f $file ]] || before=$(cat "$file")
    prepare_ceph
    python "$HERE/config.py"
    # Both options are Keystone's, and stand in its configuration.
    [[ -z $before || $before = "$(cat "$file")" ]] || stop keystone
}

seed() { python "$HERE/seed.py" "$@"; }

lab_up() {
    local fresh='' ceph
    lab_install
    [[ -f $VAR/seeded ]] || fresh=1
    # What an interrupted seeding left is not trusted.
    if [[ -n $fresh ]]; then
        stop_all
        rm -rf "$VAR" "$SAVED" "$ETC/swift" "$LAB_DIR/clouds.yaml"
    fi
    mkdir -p "$VAR" "$SAVED"
    write_configuration
    start_ceph &
    ceph=$!
    start_database
    start_memcached
    start_rabbit
    wait_for MariaDB 60 mariadb sql -e 'SELECT 1'
    if [[ -n $fresh ]]; then
        migrate
        say migrated
    fi
    wait_for RabbitMQ 120 rabbit port_open "$PORT_RABBIT"
    start_keystone
    start_apis
    start_swift
    start_cinder_workers
    wait_for Keystone 240 keystone answers "$KEYSTONE_URL"
    [[ -z $fresh ]] || seed identity
    start_nova_workers
    wait_for_apis
    say 'the APIs answer'
    wait "$ceph" || die 'Ceph did not start'
    seed wait
    if [[ -n $fresh ]]; then
        nova-manage --config-file "$ETC/nova/nova.conf" cell_v2 discover_hosts > "$LOG/discover-hosts.out" 2>&1
        seed site
        save_database
        cp -a "$VAR/glance/images" "$SAVED/images"
        touch "$VAR/seeded"
        say 'seeded and saved'
    fi
    say "ready: export OS_CLIENT_CONFIG_FILE=$LAB_DIR/clouds.yaml"
}

lab_reset() {
    local name job
    [[ -f $VAR/seeded ]] || die 'nothing is saved yet: lab up'
    for name in mariadb memcached "${REMEMBERING[@]}"; do running "$name" > /dev/null || die "$name does not run: lab up"; done
    for name in "${REMEMBERING[@]}"; do stop "$name" & done
    empty_ceph > "$LOG/ceph-empty.out" 2>&1 &
    for job in $(jobs -p); do wait "$job"; done
    restore_database
    # Down, until they report again: this is how `seed wait` knows that they have started.
    sql nova_cell1 -e "UPDATE services SET last_seen_up = '2000-01-01', updated_at = '2000-01-01'
        WHERE \`binary\` IN ('nova-scheduler', 'nova-compute')"
    rm -rf "$VAR/glance/images"
    cp -a "$SAVED/images" "$VAR/glance/images"
    find "$VAR/swift/disk" -mindepth 1 -delete
    start_remembering
    seed wait
    say 'as seeded'
}

stop_all() {
    local name
    for name in $(recorded); do
        [[ " ${FOUNDATION[*]} " = *" $name "* ]] || stop "$name" &
    done
    wait
    for name in "${FOUNDATION[@]}"; do stop "$name" 30; done
}

lab_down() {
    stop_all
    say stopped
}

lab_remove() {
    stop_all
    rm -rf "$LAB_DIR"
    say "removed $LAB_DIR"
}

lab_status() {
    local name path pid bad=0
    [[ -n $(recorded) ]] || { echo 'nothing runs' && return 1; }
    for name in $(recorded); do
        if pid=$(running "$name"); then
            printf '%-22s runs  %8s\n' "$name" "$pid"
        else
            printf '%-22s ended           %s\n' "$name" "$(log_of "$name")"
            bad=1
        fi
    done
    for name in "${API_PORTS[@]}" "ceph-rgw $PORT_RGW"; do
        read -r name path <<< "$name"
        if answers "http://127.0.0.1:$path"; then
            printf '%-22s answers  http://127.0.0.1:%s\n' "$name" "$path"
        else
            printf '%-22s is silent  http://127.0.0.1:%s\n' "$name" "$path"
            bad=1
        fi
    done
    return "$bad"
}

lab_logs() { # lines
    local file
    for file in "$LOG"/*.log "$LOG"/*.out; do
        [[ -s $file ]] || continue
        printf '\n== %s\n' "$file"
        tail -n "$1" "$file"
    done
}

lab_env() {
    printf 'export OS_CLIENT_CONFIG_FILE=%q OS_CLOUD=lab\n' "$LAB_DIR/clouds.yaml"
    # After the rest: the environment has programs of other names than OpenStack's too.
    # shellcheck disable=SC2016  # for the reader's shell to expand
    printf 'PATH=$PATH:%q\n' "$VENV/bin"
}
