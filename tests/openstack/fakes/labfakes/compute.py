"""nova-compute with Nova's own fake driver, small enough that a lease of many servers finds no host."""

import sys

from nova.cmd import compute
from nova.virt import fake

fake.FakeDriver.vcpus = 64
fake.FakeDriver.memory_mb = 256 * 1024
fake.FakeDriver.local_gb = 4096

if __name__ == "__main__":
    # Services are named after the program.
    sys.argv[0] = "nova-compute"
    sys.exit(compute.main())
