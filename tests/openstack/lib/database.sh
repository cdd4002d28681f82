# shellcheck shell=bash  # sourced
# MariaDB: started by hand on its own port, migrated by each service's own tool, saved after seeding, restored by `reset`.
# And RabbitMQ and memcached, which hold nothing that must be kept.

DATABASES=(keystone glance placement nova_api nova_cell0 nova_cell1 neutron cinder blazar)
# When each background service was last seen. Restored, it would say that services which run are down.
LIVE_TABLES=(nova_cell0.services nova_cell1.services cinder.services)

sql() { mariadb --no-defaults -uroot -S "$RUN/mysql.sock" "$@"; }

# Nothing here must survive a power cut, so nothing waits for a disk.
start_database() {
    [[ -d $VAR/mysql/mysql ]] || mariadb-install-db --no-defaults --datadir="$VAR/mysql" --user="$RUN_AS" \
        --auth-root-authentication-method=normal --skip-test-db > "$LOG/mariadb-install.out" 2>&1
    start mariadb /usr/sbin/mariadbd --no-defaults --user="$RUN_AS" --datadir="$VAR/mysql" --bind-address=127.0.0.1 \
        --port="$PORT_DB" --socket="$RUN/mysql.sock" --pid-file="$RUN/mariadbd.own" --skip-log-bin --skip-name-resolve \
        --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-flush-method=nosync \
        --innodb-buffer-pool-size=192M --innodb-log-file-size=64M --performance-schema=off --max-connections=400 \
        --character-set-server=utf8mb3 --collation-server=utf8mb3_general_ci
}

make_databases() {
    local name
    {
        for name in "${DATABASES[@]}"; do echo "CREATE DATABASE IF NOT EXISTS $name;"; done
        echo "CREATE USER IF NOT EXISTS 'lab'@'%' IDENTIFIED BY '$PASSWORD'; GRANT ALL ON *.* TO 'lab'@'%';"
    } | sql
}

migrate_keystone() {
    local manage=(keystone-manage --config-file "$ETC/keystone/keystone.conf")
    "${manage[@]}" db_sync
    "${manage[@]}" fernet_setup --keystone-user "$RUN_AS" --keystone-group "$(id -gn)"
    "${manage[@]}" credential_setup --keystone-user "$RUN_AS" --keystone-group "$(id -gn)"
    "${manage[@]}" bootstrap --bootstrap-username admin --bootstrap-password "$PASSWORD" --bootstrap-project-name admin \
        --bootstrap-role-name admin --bootstrap-service-name keystone --bootstrap-region-id "$REGION" \
        --bootstrap-public-url "$KEYSTONE_URL" --bootstrap-internal-url "$KEYSTONE_URL" --bootstrap-admin-url "$KEYSTONE_URL"
}

migrate_nova() {
    local manage=(nova-manage --config-file "$ETC/nova/nova.conf")
    "${manage[@]}" api_db sync
    "${manage[@]}" cell_v2 map_cell0 --database_connection "$DB_URL/nova_cell0"
    "${manage[@]}" cell_v2 create_cell --name=cell1 --database_connection "$DB_URL/nova_cell1" --transport-url "$RABBIT_URL"
    "${manage[@]}" db sync
}

migrate_glance() { glance-manage --config-file "$ETC/glance/glance-api.conf" db_sync; }
migrate_placement() { placement-manage --config-file "$ETC/placement/placement.conf" db sync; }
migrate_neutron() { neutron-db-manage --config-file "$ETC/neutron/neutron.conf" upgrade heads; }
migrate_cinder() { cinder-manage --config-file "$ETC/cinder/cinder.conf" db sync; }
migrate_blazar() { blazar-db-manage --config-file "$ETC/blazar/blazar.conf" upgrade head; }

# All at once: each spends its time with one table after the other. The longest first.
migrate() {
    local service failed='' jobs=()
    local services=(nova neutron keystone cinder glance placement blazar)
    make_databases
    for service in "${services[@]}"; do
        (set -e && "migrate_$service") > "$LOG/migrate-$service.out" 2>&1 &
        jobs+=($!)
    done
    for service in "${!services[@]}"; do
        wait "${jobs[$service]}" || failed+=" $LOG/migrate-${services[$service]}.out"
    done
    [[ -z $failed ]] || die "migrations failed:$failed"
}

# One script that empties every table and fills it with what it holds now, in one transaction. Emptied by DELETE, which
# leaves the counters alone: Placement remembers ids of what is gone, and must never see one of them again.
save_database() {
    local script=$SAVED/databases.sql excluded name
    printf -v excluded "'%s'," "${LIVE_TABLES[@]}"
    printf -v name "'%s'," "${DATABASES[@]}"
    {
        echo 'SET foreign_key_checks = 0, unique_checks = 0, autocommit = 0;'
        sql -N -e "SELECT CONCAT('DELETE FROM \`', table_schema, '\`.\`', table_name, '\`;') FROM information_schema.tables
            WHERE table_type = 'BASE TABLE' AND table_schema IN (${name%,})
            AND CONCAT(table_schema, '.', table_name) NOT IN (${excluded%,})"
        mariadb-dump --no-defaults -uroot -S "$RUN/mysql.sock" --no-create-info --no-create-db --skip-add-locks \
            --skip-disable-keys --skip-triggers --single-transaction --hex-blob "${LIVE_TABLES[@]/#/--ignore-table=}" \
            --databases "${DATABASES[@]}"
        echo 'COMMIT;'
    } > "$script.new"
    mv "$script.new" "$script"
}

# What the services have in the cache is of objects that are gone.
restore_database() {
    sql < "$SAVED/databases.sql"
    forget
}

# Where Keystone, and what checks tokens in the other services, remember answers: one for all, as at any site.
start_memcached() {
    start memcached memcached -l 127.0.0.1 -p "$PORT_MEMCACHED" -U 0 -m 64 -u "$RUN_AS"
}

forget() {
    local answer
    exec 8<> "/dev/tcp/127.0.0.1/$PORT_MEMCACHED"
    printf 'flush_all\r\n' >&8
    read -r -t 5 answer <&8
    exec 8>&-
    [[ $answer = OK* ]]
}

start_rabbit() {
    # Two schedulers that sleep when there is nothing to do, not spin.
    local idle='+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none'
    start epmd epmd -address 127.0.0.1 -port "$PORT_EPMD"
    start rabbit env HOME="$VAR/rabbit" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$PORT_EPMD" \
        RABBITMQ_NODENAME=lab@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$PORT_RABBIT" \
        RABBITMQ_DIST_PORT="$PORT_RABBIT_DIST" RABBITMQ_MNESIA_BASE="$VAR/rabbit/mnesia" RABBITMQ_LOG_BASE="$LOG" \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$VAR/rabbit/none" RABBITMQ_PID_FILE="$RUN/rabbit.own" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$VAR/rabbit/enabled_plugins" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} $idle" \
        /usr/lib/rabbitmq/bin/rabbitmq-server
}
