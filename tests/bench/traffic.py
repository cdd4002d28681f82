"""What a command asked of the services: the lines that their request logs gained while it ran.

In: the lab's folder of request logs. Out: requests by service, of one client, told apart by its user agent. What the
services ask of each other has user agents of their own (python-neutronclient, nova-compute, …) and is not counted.
"""

import collections
import pathlib
import re
import time

SERVICES = {
    "keystone": "keystone", "nova-api": "nova", "neutron": "neutron", "cinder-api": "cinder", "glance": "glance",
    "placement": "placement", "blazar-api": "blazar",
}
LINE = re.compile(r'^\S+ \S+ (?P<status>\d+) (?P<took>\d+)ms (?P<method>[A-Z]+) (?P<path>\S+) "(?P<agent>.*)"$')


class Traffic:
    """One command's requests: `with Traffic(folder, "anole/") as traffic: …`, then `traffic.counts`."""

    def __init__(self, folder, agent):
        self.files = {name: pathlib.Path(folder, file) for file, name in SERVICES.items()}
        self.agent = agent
        self.counts, self.slow, self.calls = {}, {}, collections.Counter()

    def __enter__(self):
        self.ends = {name: path.stat().st_size if path.exists() else 0 for name, path in self.files.items()}
        return self

    def __exit__(self, *_):
        # A service writes the line of a request after its answer.
        time.sleep(0.3)
        for name, path in self.files.items():
            lines = [line for line in map(LINE.match, self.gained(path, self.ends[name])) if line]
            own = [line for line in lines if self.agent in line["agent"]]
            if own:
                self.counts[name] = len(own)
                self.slow[name] = sum(int(line["took"]) for line in own)
            self.calls.update(f"{line['method']} {name} {general(line['path'])}" for line in own)

    @staticmethod
    def gained(path, start):
        if not path.exists():
            return []
        with path.open("rb") as file:
            # A log that was started anew is read from its start.
            file.seek(start if path.stat().st_size >= start else 0)
            return file.read().decode("utf-8", "replace").splitlines()

    @property
    def total(self):
        return sum(self.counts.values())


def general(path):
    """A path without ids, names or query, to count requests of one sort together."""
    path = path.split("?")[0]
    return re.sub(r"/[0-9a-f]{8}-[0-9a-f-]{27}|/[0-9a-f]{32}", "/*", path)
