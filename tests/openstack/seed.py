"""Seeds the lab through its own APIs: seed.py identity | site | wait. Nothing here is done twice.

identity  projects, users, roles, the catalog, application credentials, and clouds.yaml, which has their secrets
site      what people find at a Chameleon site: images, flavors, networks, a volume type, hosts and addresses to reserve
wait      until Nova's and Cinder's background services report that they are up
"""

import os
import pathlib
import sys
import time

import openstack
import yaml

ENV = os.environ
HOST = "http://127.0.0.1:"
PASSWORD, REGION, CEPH_REGION = ENV["PASSWORD"], ENV["REGION"], ENV["CEPH_REGION"]

# Projects and their quotas. The first is for work, the second small enough to run into.
PROJECTS = {
    "CHI-000001": {
        "compute": {"instances": 20, "cores": 40, "ram": 102400},
        "volume": {"volumes": 120, "gigabytes": 400, "snapshots": 20},
        "network": {"security_groups": 120, "security_group_rules": 500, "floating_ips": 20},
    },
    "CHI-000002": {
        "compute": {"instances": 2, "cores": 4, "ram": 8192},
        "volume": {"volumes": 3, "gigabytes": 10, "snapshots": 2},
        "network": {"security_groups": 4, "security_group_rules": 30, "floating_ips": 2},
    },
}
MEMBERS = {"alice": ("CHI-000001", "CHI-000002"), "carol": ("CHI-000001",), "bob": ("CHI-000002",)}
SERVICE_USERS = ("glance", "placement", "nova", "neutron", "cinder", "blazar", "swift", "rgw")
ROLES = ("admin", "manager", "member", "reader", "service", "ResellerAdmin")
# Service name, type, and URL in each region that has it.
CATALOG = (
    ("glance", "image", {REGION: HOST + ENV["PORT_GLANCE"]}),
    ("placement", "placement", {REGION: HOST + ENV["PORT_PLACEMENT"]}),
    ("nova", "compute", {REGION: HOST + ENV["PORT_NOVA"] + "/v2.1"}),
    ("neutron", "network", {REGION: HOST + ENV["PORT_NEUTRON"]}),
    ("cinder", "block-storage", {REGION: HOST + ENV["PORT_CINDER"] + "/v3"}),
    ("cinderv3", "volumev3", {REGION: HOST + ENV["PORT_CINDER"] + "/v3/$(project_id)s"}),
    ("blazar", "reservation", {REGION: HOST + ENV["PORT_BLAZAR"] + "/v1"}),
    ("swift", "object-store", {
        REGION: HOST + ENV["PORT_SWIFT"] + "/v1/AUTH_$(project_id)s",
        CEPH_REGION: HOST + ENV["PORT_RGW"] + "/swift/v1/AUTH_$(project_id)s",
    }),
    ("s3", "s3", {REGION: HOST + ENV["PORT_SWIFT"], CEPH_REGION: HOST + ENV["PORT_RGW"]}),
)
IMAGES = ("CC-Ubuntu22.04", "CC-Ubuntu24.04", "CC-Ubuntu24.04-CUDA")
FLAVORS = (
    ("m1.tiny", 1, 512, 1),
    ("m1.small", 1, 2048, 20),
    ("m1.medium", 2, 4096, 40),
    ("m1.large", 4, 8192, 40),
    ("m1.xlarge", 8, 16384, 40),
)


def connect(user="admin", project="admin"):
    return openstack.connect(
        auth_url=ENV["KEYSTONE_URL"], username=user, password=PASSWORD, project_name=project,
        user_domain_name="Default", project_domain_name="Default", region_name=REGION,
    )


def seed_identity():
    identity = connect().identity
    roles = {name: identity.find_role(name) or identity.create_role(name=name) for name in ROLES}

    def grant(project, user, *names):
        for name in names:
            identity.assign_project_role_to_user(project=project, user=user, role=roles[name])

    service = identity.create_project(name="service", domain_id="default")
    for name in SERVICE_USERS:
        grant(service, identity.create_user(name=name, password=PASSWORD, domain_id="default"), "admin", "service")
    projects = {name: identity.create_project(name=name, domain_id="default") for name in PROJECTS}
    for name, members_of in MEMBERS.items():
        user = identity.create_user(name=name, password=PASSWORD, domain_id="default")
        for project in members_of:
            grant(projects[project], user, "member", "reader")
    admin = identity.find_user("admin")
    for project in projects.values():
        grant(project, admin, "admin")
    identity.create_region(id=CEPH_REGION)
    for name, kind, urls in CATALOG:
        entry = identity.create_service(name=name, type=kind)
        for region, url in urls.items():
            for interface in ("public", "internal", "admin"):
                identity.create_endpoint(service_id=entry.id, interface=interface, region_id=region, url=url)
    # Bootstrap made Keystone's own endpoint in the first region only.
    keystone = next(entry for entry in identity.services() if entry.type == "identity")
    identity.create_endpoint(
        service_id=keystone.id, interface="public", region_id=CEPH_REGION, url=ENV["KEYSTONE_URL"]
    )
    write_clouds()


def write_clouds():
    """clouds.yaml: everybody's way to sign in, application credentials with the secrets that Keystone shows once."""

    def by_password(user, project, region=REGION):
        auth = {"username": user, "password": PASSWORD, "project_name": project}
        auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
        return {"auth": {"auth_url": ENV["KEYSTONE_URL"]} | auth, "region_name": region}

    alice = connect("alice", "CHI-000001")

    def by_credential(made, region=REGION):
        auth = {"application_credential_id": made.id, "application_credential_secret": made.secret}
        return {
            "auth_type": "v3applicationcredential",
            "auth": {"auth_url": ENV["KEYSTONE_URL"]} | auth,
            "region_name": region,
        }

    unrestricted, restricted = (
        alice.identity.create_application_credential(user=alice.current_user_id, name=name, unrestricted=unrestricted)
        for name, unrestricted in (("lab-unrestricted", True), ("lab-restricted", False))
    )
    clouds = {
        "lab": by_password("alice", "CHI-000001"),
        "lab-mate": by_password("carol", "CHI-000001"),
        "lab-bob": by_password("bob", "CHI-000002"),
        "lab-small": by_password("alice", "CHI-000002"),
        "lab-admin": by_password("admin", "admin"),
        "lab-appcred": by_credential(unrestricted),
        "lab-appcred-restricted": by_credential(restricted),
        "lab-chi": by_password("alice", "CHI-000001", CEPH_REGION),
        "lab-chi-appcred": by_credential(unrestricted, CEPH_REGION),
    }
    path = pathlib.Path(ENV["LAB_DIR"], "clouds.yaml")
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump({"clouds": clouds}, sort_keys=False))


def seed_site():
    cloud = connect()
    for name, quotas in PROJECTS.items():
        cloud.set_compute_quotas(name, **quotas["compute"])
        cloud.set_volume_quotas(name, **quotas["volume"])
        network = {key.removesuffix("s"): value for key, value in quotas["network"].items()}
        network["floatingip"] = network.pop("floating_ip")
        cloud.set_network_quotas(name, **network)
    for name in IMAGES:
        cloud.image.create_image(
            name=name, disk_format="raw", container_format="bare", visibility="public", data=b"\0" * (1 << 20),
        )
    for name, vcpus, ram, disk in FLAVORS:
        cloud.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=disk, is_public=True)
    cloud.block_storage.create_type(
        name="ceph-ssd", is_public=True, extra_specs={"volume_backend_name": "ceph-ssd"}
    )
    public = seed_networks(cloud.network)
    seed_reservations(cloud, public)


def seed_networks(network):
    public = network.create_network(
        name="public", is_router_external=True, provider_network_type="flat", provider_physical_network="public"
    )
    network.create_subnet(
        name="public-subnet", network_id=public.id, ip_version=4, cidr="129.114.24.0/22", gateway_ip="129.114.24.1",
        is_dhcp_enabled=False, allocation_pools=[{"start": "129.114.24.10", "end": "129.114.25.250"}],
    )
    shared = network.create_network(
        name="sharednet1", is_shared=True, provider_network_type="flat", provider_physical_network="sharednet1"
    )
    subnet = network.create_subnet(
        name="sharednet1-subnet", network_id=shared.id, ip_version=4, cidr="10.56.0.0/22", gateway_ip="10.56.0.1",
        dns_nameservers=["8.8.8.8"],
    )
    router = network.create_router(name="sharednet1-router", external_gateway_info={"network_id": public.id})
    network.add_interface_to_router(router, subnet_id=subnet.id)
    return public


def seed_reservations(cloud, public):
    """Blazar's free pool. It takes hosts by their names, and addresses that lie outside the allocation pool."""
    cloud.compute.create_aggregate(name="freepool")
    blazar = cloud.endpoint_for("reservation")

    def post(path, body):
        cloud.session.post(blazar + path, json=body)

    for host in ENV["RESERVABLE_HOSTS"].split():
        post("/os-hosts", {"name": host})
    for last in (1, 2, 3):
        address = f"129.114.26.{last}"
        post("/floatingips", {"floating_network_id": public.id, "floating_ip_address": address})


def wait():
    cloud = connect()
    hosts = (ENV["RESERVABLE_HOSTS"] + " " + ENV["ON_DEMAND_HOSTS"]).split()
    wanted = {"nova-conductor", "nova-scheduler", "cinder-scheduler", "cinder-volume"}
    wanted |= {f"nova-compute on {host}" for host in hosts} | {"a pool of volumes"}
    deadline = time.monotonic() + 240
    while wanted:
        for service in (cloud.compute, cloud.block_storage):
            for one in service.get("/os-services").json().get("services", []):
                if one["state"] == "up":
                    wanted -= {one["binary"], f"{one['binary']} on {one['host']}"}
        # A service is up before its scheduler has heard what it offers, and refuses volumes until then.
        pools = cloud.block_storage.get("/scheduler-stats/get_pools").json().get("pools", [])
        if pools:
            wanted -= {"a pool of volumes"}
        if wanted and time.monotonic() > deadline:
            sys.exit(f"not up: {', '.join(sorted(wanted))}")
        time.sleep(0.3 if wanted else 0)


{"identity": seed_identity, "site": seed_site, "wait": wait}[sys.argv[1]]()
