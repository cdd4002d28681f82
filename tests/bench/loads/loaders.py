"""The programs that are measured: how each loads a folder into a bucket, and loads it again.

In: a store, a bucket, a folder. Out: for each the command, its environment, and what goes to its standard input.

Invariant: each is called as its own users would for this, with as much side by side as the bench says for rclone and as
the others do by themselves.
"""

import json
import os
import pathlib
import shutil

PREFIX = "data"


class Loader:
    """One contestant, in a folder of its own."""

    def __init__(self, name, folder):
        self.name, self.folder = name, pathlib.Path(folder)

    def fresh(self):
        """Forgets everything that it may have kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    @staticmethod
    def environment(store):
        return {}

    @staticmethod
    def given(store, bucket, source, staging, port):
        return None


class Anole(Loader):
    # A manifest comes with the objects.
    extra_objects = 1

    def command(self, store, bucket, source, port, again):
        return [os.environ["ANOLE"], "dataset", "run"]

    @staticmethod
    def given(store, bucket, source, staging, port):
        keys = {"endpoint": store.endpoint(port), "region": "us-east-1", "access_key": store.keys.access,
                "secret_key": store.keys.secret}
        load = {"store": keys, "bucket": bucket, "prefix": PREFIX, "transfers": 64}
        job = {"sources": [{"from": {"path": str(source)}}]}
        return json.dumps({"job": job, "staging": str(staging / "staging"), "load": load})


class Rclone(Loader):
    extra_objects = 0

    @staticmethod
    def environment(store):
        settings = {"TYPE": "s3", "PROVIDER": store.provider, "ACCESS_KEY_ID": store.keys.access,
                    "SECRET_ACCESS_KEY": store.keys.secret, "REGION": "us-east-1"}
        return {f"RCLONE_CONFIG_STORE_{name}": value for name, value in settings.items()}

    def command(self, store, bucket, source, port, again):
        told = ["--s3-endpoint", store.endpoint(port), "--config", "/dev/null"]
        wide = ["--transfers", "32", "--checkers", "16", "--fast-list"]
        return [os.environ["RCLONE"], "copy", *told, *wide, str(source), f"store:{bucket}/{PREFIX}"]


class S5cmd(Loader):
    extra_objects = 0

    @staticmethod
    def environment(store):
        return {"AWS_ACCESS_KEY_ID": store.keys.access, "AWS_SECRET_ACCESS_KEY": store.keys.secret,
                "AWS_REGION": "us-east-1"}

    def command(self, store, bucket, source, port, again):
        what = "sync" if again else "cp"
        to = f"s3://{bucket}/{PREFIX}/"
        return [os.environ["S5CMD"], "--endpoint-url", store.endpoint(port), "--log", "error", what, f"{source}/", to]


LOADERS = {"anole": Anole, "rclone": Rclone, "s5cmd": S5cmd}
