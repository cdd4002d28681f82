# shellcheck shell=bash disable=SC2164  # sourced, under set -e
# Every OpenStack process, how it is started and when it is ready.

API_PORTS=(
    "keystone $PORT_KEYSTONE/v3" "placement $PORT_PLACEMENT" "glance $PORT_GLANCE" "nova-api $PORT_NOVA"
    "neutron $PORT_NEUTRON" "cinder-api $PORT_CINDER" "blazar-api $PORT_BLAZAR" "swift-proxy $PORT_SWIFT/healthcheck"
)

# Each request becomes one line in LOG/requests/<name>: who asked is in it, so that a client's requests can be counted.
wsgi() { # name port module processes [uwsgi options]
    local name=$1 port=$2 module=$3 processes=$4
    shift 4
    mkdir -p "$LOG/requests"
    # A process each loads its own copy of the service: what these open before a fork they cannot share after it.
    start "$name" uwsgi --http-socket "127.0.0.1:$port" --module "$module:application" --need-app \
        --master --processes "$processes" --threads 1 --enable-threads --lazy-apps --die-on-term \
        --buffer-size 65535 --listen 100 --add-header "Connection: close" --procname-prefix "lab-$name " \
        --req-logger "file:$LOG/requests/$name" \
        --log-format '%(ltime) %(status) %(msecs)ms %(method) %(uri) "%(uagent)"' "$@"
}

start_keystone() {
    OS_KEYSTONE_CONFIG_DIR=$ETC/keystone OS_KEYSTONE_CONFIG_FILES=keystone.conf \
        wsgi keystone "$PORT_KEYSTONE" labfakes.keystone 2
}

start_apis() {
    OS_PLACEMENT_CONFIG_DIR=$ETC/placement wsgi placement "$PORT_PLACEMENT" placement.wsgi.api 1
    OS_NOVA_CONFIG_DIR=$ETC/nova OS_NOVA_CONFIG_FILES="api-paste.ini;nova.conf;nova-api.conf" \
        wsgi nova-api "$PORT_NOVA" nova.wsgi.osapi_compute 2
    OS_NEUTRON_CONFIG_DIR=$ETC/neutron OS_NEUTRON_CONFIG_FILES=neutron.conf \
        wsgi neutron "$PORT_NEUTRON" neutron.wsgi.api 2
    OS_GLANCE_CONFIG_DIR=$ETC/glance wsgi glance "$PORT_GLANCE" glance.wsgi.api 1
    wsgi cinder-api "$PORT_CINDER" cinder.wsgi.api 2 \
        --pyargv "--config-file $ETC/cinder/cinder.conf --config-file $ETC/cinder/cinder-api.conf"
    OS_BLAZAR_CONFIG_DIR=$ETC/blazar-api wsgi blazar-api "$PORT_BLAZAR" blazar.wsgi.api 1
}

make_rings() {
    local kind port
    for kind in account container object; do
        [[ ! -f $ETC/swift/$kind.ring.gz ]] || continue
        port=PORT_SWIFT_${kind^^}
        (
            cd "$ETC/swift"
            swift-ring-builder "$kind.builder" create 4 1 1
            swift-ring-builder "$kind.builder" add "r1z1-127.0.0.1:${!port}/disk" 1
            swift-ring-builder "$kind.builder" rebalance
        ) >> "$LOG/rings.out" 2>&1
    done
}

start_swift() {
    local kind
    make_rings
    for kind in account container object proxy; do
        start "swift-$kind" python -m labfakes.swift "$kind" "$ETC/swift"
    done
}

start_cinder_workers() {
    start cinder-scheduler cinder-scheduler --config-file "$ETC/cinder/cinder.conf"
    start cinder-volume cinder-volume --config-file "$ETC/cinder/cinder.conf"
}

# What remembers hosts and servers between requests, and so is started anew by `reset`.
REMEMBERING=(nova-scheduler)
for host in $RESERVABLE_HOSTS $ON_DEMAND_HOSTS; do REMEMBERING+=("nova-compute-$host"); done

start_remembering() {
    local host
    start nova-scheduler nova-scheduler --config-file "$ETC/nova/nova.conf"
    for host in $RESERVABLE_HOSTS $ON_DEMAND_HOSTS; do
        start "nova-compute-$host" python -m labfakes.compute \
            --config-file "$ETC/nova/nova.conf" --config-file "$ETC/nova/$host.conf"
    done
}

# Nova's workers end at once if their own users are not in Keystone yet.
start_nova_workers() {
    start nova-conductor nova-conductor --config-file "$ETC/nova/nova.conf"
    start_remembering
    start blazar-manager blazar-manager --config-file "$ETC/blazar/blazar.conf"
}

wait_for_apis() {
    local name path
    for name in "${API_PORTS[@]}"; do
        read -r name path <<< "$name"
        wait_for "$name" 240 "$name" answers "http://127.0.0.1:$path"
    done
}
