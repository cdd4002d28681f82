# shellcheck shell=bash disable=SC2034  # sourced; the other files use these
# Where everything lives, which loopback ports are used, and the few options. Nothing is started or written here.

export LAB_DIR=${ANOLE_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/anole-openstack}
export VENV=$LAB_DIR/venv ETC=$LAB_DIR/etc VAR=$LAB_DIR/var LOG=$LAB_DIR/log RUN=$LAB_DIR/run SAVED=$LAB_DIR/saved

# Options. A change takes effect at the next `lab up`, which restarts what it concerns.
export LAB_TOKEN_SECONDS=${LAB_TOKEN_SECONDS:-14400}     # lifetime of people's tokens
export LAB_APPCRED_TRUST=${LAB_APPCRED_TRUST:-true}      # may application credentials make leases?

# One password for every account: all of it is on loopback, and worth nothing.
export PASSWORD=anole-lab
export REGION=KVM@LAB CEPH_REGION=CHI@LAB

# Below the ephemeral range, so that no outgoing connection takes one of them first.
export PORT_DB=23306 PORT_MEMCACHED=21211 PORT_RABBIT=24672 PORT_RABBIT_DIST=24673 PORT_EPMD=24369
export PORT_KEYSTONE=25000 PORT_GLANCE=29292 PORT_PLACEMENT=28778 PORT_NOVA=28774 PORT_NEUTRON=29696 PORT_CINDER=28776
export PORT_BLAZAR=21234 PORT_SWIFT=28080 PORT_SWIFT_OBJECT=26200 PORT_SWIFT_CONTAINER=26201 PORT_SWIFT_ACCOUNT=26202
export PORT_MON=27300 PORT_MON_V1=27301 PORT_CEPH_MIN=27310 PORT_CEPH_MAX=27390 PORT_RGW=27480 PORT_RGW_TLS=27481

export KEYSTONE_URL=http://127.0.0.1:$PORT_KEYSTONE/v3
export DB_URL=mysql+pymysql://lab:$PASSWORD@127.0.0.1:$PORT_DB
export RABBIT_URL=rabbit://guest:guest@127.0.0.1:$PORT_RABBIT/
RUN_AS=$(id -un)
export RUN_AS

# The hosts of nova-compute: two in Blazar's free pool, one for servers without a reservation.
export RESERVABLE_HOSTS="kvm-1 kvm-2" ON_DEMAND_HOSTS="kvm-3"

# Ceph runs from Debian packages unpacked here; nothing of it is installed on the system.
export CEPH_ROOT=$LAB_DIR/ceph/root CEPH_CONF=$LAB_DIR/etc/ceph/ceph.conf
