# shellcheck shell=bash  # sourced
# What the lab needs and this machine lacks: Debian packages, the virtual environment, Ceph unpacked into the lab's folder.
# Each part is skipped when its result is there, so that `lab up` can call all of them.

REQUIRED_PYTHON='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'

install_packages() {
    local want=()
    [[ -x /usr/sbin/mariadbd ]] || want+=(mariadb-server)
    [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || want+=(rabbitmq-server)
    command -v memcached > /dev/null || want+=(memcached)
    command -v qemu-img > /dev/null || want+=(qemu-utils)
    command -v curl > /dev/null || want+=(curl)
    command -v openssl > /dev/null || want+=(openssl)
    command -v python3 > /dev/null || want+=(python3)
    # uWSGI is the one requirement that is compiled.
    command -v cc > /dev/null || want+=(build-essential)
    if ! python3 -c 'import ensurepip, os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2> /dev/null; then
        want+=(python3-venv python3-dev)
    fi
    [[ ${#want[@]} = 0 ]] || { say "Debian packages: ${want[*]}" && apt_install "${want[@]}" >> "$LOG/install.out" 2>&1; }
}

# The stamp holds what the environment was made from: changed requirements or fakes are installed by the next `up`.
install_venv() {
    local stamp
    stamp=$(cat "$HERE"/{requirements,constraints}.txt "$HERE"/fakes/pyproject.toml "$HERE"/fakes/labfakes/*.py | sha256sum)
    [[ $(cat "$VENV/made-from" 2> /dev/null) != "$stamp" ]] || return 0
    python3 -c "$REQUIRED_PYTHON" || die "OpenStack 2025.1 needs Python 3.10, 3.11 or 3.12; python3 is $(python3 --version)"
    say "Python packages into $VENV (some minutes the first time)"
    [[ -x $VENV/bin/pip ]] || python3 -m venv "$VENV"
    {
        "$VENV/bin/pip" install -q 'pip<26' 'setuptools<81' wheel
        "$VENV/bin/pip" install -q --prefer-binary -c "$HERE/constraints.txt" -r "$HERE/requirements.txt"
        # A copy, because setuptools writes beside what it builds.
        rm -rf "$LAB_DIR/fakes"
        cp -r "$HERE/fakes" "$LAB_DIR/fakes"
        "$VENV/bin/pip" install -q --no-deps --no-build-isolation --force-reinstall "$LAB_DIR/fakes"
    } >> "$LOG/install.out" 2>&1
    # oslo.messaging looks for the answer to an RPC call every half second (Launchpad 2035113), so that every call between
    # services would take that long.
    sed -i '/class ReplyWaiters/,/def put/ s/time.sleep(0.5)/time.sleep(0.005)/' \
        "$VENV"/lib/python3*/site-packages/oslo_messaging/_drivers/amqpdriver.py
    printf '%s\n' "$stamp" > "$VENV/made-from"
}

# What the packages depend on and the gateway does not use: disk tools of ceph-osd, Python modules of ceph-mgr.
CEPH_UNUSED='cryptsetup-bin|gdisk|hdparm|uuid-runtime|libnvme1|nvme-cli|dmidecode|libparted.*|parted|smartmontools|libinih1|'
CEPH_UNUSED+='liburcu8|xfsprogs|libdevmapper-event.*|liblvm2cmd.*|dmeventd|lvm2|sudo|python3-(autocommand|bcrypt|bs4|certifi|'
CEPH_UNUSED+='chardet|charset-normalizer|cheroot|cherrypy3|idna|inflect|jaraco.*|logutils|mako|markupsafe|more-itertools|'
CEPH_UNUSED+='paste.*|pecan|portend|requests|rgw|simplegeneric|singledispatch|soupsieve|tempita|tempora|tz|urllib3|waitress|'
CEPH_UNUSED+='webob|webtest|werkzeug|zc.lockfile|ceph)'

# The packages of the gateway and all that they need and this machine has not.
ceph_packages() {
    apt-get install -s --no-install-recommends radosgw ceph-mon ceph-mgr ceph-osd 2> /dev/null |
        awk '/^Inst/ { print $2 }' | grep -vxE "$CEPH_UNUSED"
}

# Unpacked, not installed: no system user, no units, and deleting the folder leaves nothing behind.
install_ceph() {
    [[ ! -x $CEPH_ROOT/usr/bin/radosgw ]] || return 0
    local debs=$LAB_DIR/ceph/debs packages program missing=
    say "Ceph into $CEPH_ROOT"
    rm -rf "$LAB_DIR/ceph"
    mkdir -p "$debs" "$CEPH_ROOT.new"
    as_root apt-get update -qq
    packages=$(ceph_packages) || die "apt knows no package radosgw"
    # shellcheck disable=SC2086  # one word a package
    (cd "$debs" && apt-get download -q -o APT::Sandbox::User=root $packages) >> "$LOG/install.out" 2>&1
    for program in "$debs"/*.deb; do dpkg-deb -x "$program" "$CEPH_ROOT.new"; done
    mv "$CEPH_ROOT.new" "$CEPH_ROOT"
    for program in ceph-mon ceph-osd ceph-mgr radosgw radosgw-admin; do
        missing+=$(ceph_env ldd "$CEPH_ROOT/usr/bin/$program" | grep 'not found' || true)
    done
    [[ -z $missing ]] || { rm -rf "$CEPH_ROOT" && die "Ceph lacks libraries: $missing"; }
    rm -rf "$debs"
}
