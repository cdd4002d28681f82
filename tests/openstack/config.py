"""Fills templates/ into $ETC and makes the folders in $VAR, from the variables of lib/settings.sh.

$AUTH_<user> stands for the options by which a service signs in as that user, $AUTHTOKEN_<user> for those and what the
middleware needs that checks callers' tokens.
"""

import os
import pathlib
import string

HERE = pathlib.Path(__file__).parent
ENV = dict(os.environ)
ETC, VAR, LOG = (pathlib.Path(ENV[name]) for name in ("ETC", "VAR", "LOG"))
SERVICES = ("keystone", "placement", "glance", "nova", "neutron", "cinder", "blazar")
USERS = ("placement", "glance", "nova", "neutron", "cinder", "blazar", "swift")
COMPUTES = (ENV["RESERVABLE_HOSTS"] + " " + ENV["ON_DEMAND_HOSTS"]).split()
FOLDERS = (
    "mysql rabbit keystone/fernet keystone/receipts keystone/credential glance/images glance/staging glance/tasks neutron "
    "nova cinder/coordination swift/disk ceph lock/nova lock/cinder lock/neutron lock/glance lock/blazar"
)


def sign_in(user):
    return "\n".join((
        "auth_type = password",
        f"auth_url = {ENV['KEYSTONE_URL']}",
        "user_domain_name = Default",
        "project_domain_name = Default",
        "project_name = service",
        f"username = {user}",
        f"password = {ENV['PASSWORD']}",
        f"region_name = {ENV['REGION']}",
    ))


def token_check(user):
    return "\n".join((
        f"www_authenticate_uri = {ENV['KEYSTONE_URL']}",
        "service_token_roles = service",
        "service_token_roles_required = true",
        "token_cache_time = 300",
        f"memcached_servers = 127.0.0.1:{ENV['PORT_MEMCACHED']}",
        sign_in(user),
    ))


def fill(template, **more):
    auth = {f"AUTH_{user}": sign_in(user) for user in USERS} | {f"AUTHTOKEN_{user}": token_check(user) for user in USERS}
    text = (HERE / "templates" / template).read_text()
    return string.Template(text).substitute(ENV | auth | more)


def write(path, text):
    path = ETC / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def log_name(name):
    """For a process whose program is uWSGI, or that shares its program with another: oslo.log cannot name its log."""
    return f"[DEFAULT]\nlog_file = {name}.log\n"


def main():
    for folder in FOLDERS.split():
        (VAR / folder).mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        name = "glance-api.conf" if service == "glance" else f"{service}.conf"
        write(f"{service}/{name}", fill(name))
    write("nova/api-paste.ini", pathlib.Path(ENV["VENV"], "etc/nova/api-paste.ini").read_text())
    write("nova/nova-api.conf", log_name("nova-api"))
    write("cinder/cinder-api.conf", log_name("cinder-api"))
    # Blazar's API looks for this one file in a folder.
    write("blazar-api/blazar.conf", fill("blazar.conf").replace("[DEFAULT]\n", log_name("blazar-api"), 1))
    for host in COMPUTES:
        state = VAR / "nova" / host
        state.mkdir(exist_ok=True)
        write(f"nova/{host}.conf", log_name(f"nova-compute-{host}") + f"host = {host}\nstate_path = {state}\n")
    write("swift/swift.conf", fill("swift.conf"))
    write("swift/proxy-server.conf", fill("swift-proxy.conf"))
    for kind in ("account", "container", "object"):
        port = ENV[f"PORT_SWIFT_{kind.upper()}"]
        write(f"swift/{kind}-server.conf", fill("swift-storage.conf", KIND=kind, PORT=port))
    libraries = ENV["CEPH_ROOT"] + "/usr/lib/x86_64-linux-gnu"
    write("ceph/ceph.conf", fill("ceph.conf", CEPH_LIB=libraries, FSID=(VAR / "ceph" / "fsid").read_text().strip()))


main()
