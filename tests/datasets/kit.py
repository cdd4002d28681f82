"""What the scenarios are made of: data, loads by the program itself, and a reader who trusts nobody.

In: a store, a folder. Out: `Data` (files whose contents depend on a seed), `run` (one delivery, from its JSON to its
last line), `Reader` (what another client finds in the bucket), `Watcher` (the same, all the time).

Invariant: what is right is computed here from the files, never taken from what the program says.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import subprocess
import threading
import time
from dataclasses import dataclass

import botocore.exceptions

ANOLE = os.environ["ANOLE"]
PREFIX, MANIFEST, PREVIOUS = "data/", "data/.anole/manifest.json", "data/.anole/previous.json"
MIB = 1 << 20
# What the loader sends in parts, and how large they are.
THRESHOLD, PART = 32 * MIB, 16 * MIB


class Wrong(Exception):
    """A scenario found what must not be."""


def must(holds, text):
    if not holds:
        raise Wrong(text)


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Data:
    """A folder of many small files and a few large ones; `change` makes some of them others."""

    def __init__(self, folder, seed, small=150, large=(33 * MIB, 49 * MIB)):
        self.folder, self.chance = pathlib.Path(folder), random.Random(seed)
        self.sizes = {f"class_{at % 11:02}/{at:05}.jpg": self.chance.randrange(0, 120_000) for at in range(small)}
        self.sizes |= {f"large/{at}.bin": size + at for at, size in enumerate(large)}
        self.wanted = {}
        for key in self.sizes:
            self.write(key)

    def write(self, key):
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        content = self.chance.randbytes(self.sizes[key])
        path.write_bytes(content)
        self.wanted[key] = self.describe(content)

    @staticmethod
    def describe(content):
        """Size, SHA-256, and the tags that a store gives it: whole, or of parts, with the parts' own."""
        parts = [md5(content[at:at + PART]) for at in range(0, len(content), PART)]
        whole = md5(content) if len(content) <= THRESHOLD else None
        joined = md5(b"".join(bytes.fromhex(part) for part in parts))
        tag = whole or f"{joined}-{len(parts)}"
        return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "etag": tag,
                "parts": None if whole else parts}

    def change(self):
        """Half of the small files and one or two of the large ones get other contents; one comes, and one goes."""
        for key in list(self.sizes):
            if self.chance.random() < 0.5:
                self.write(key)
        large = [key for key in self.sizes if key.startswith("large/")]
        if large:
            self.write(self.chance.choice(large))
        gone = self.chance.choice([key for key in self.sizes if key.startswith("class_")])
        (self.folder / gone).unlink()
        del self.sizes[gone], self.wanted[gone]
        come = f"class_{self.chance.randrange(11):02}/new-{self.chance.randrange(10**9)}.jpg"
        self.sizes[come] = self.chance.randrange(1, 120_000)
        self.write(come)


@dataclass
class Ended:
    """How a run ended."""

    code: int
    line: dict
    seconds: float

    @property
    def delivered(self):
        must(self.code == 0 and "delivered" in self.line, f"the load failed: {self.code} {self.line}")
        return self.line["delivered"]

    @property
    def failure(self):
        must(self.code == 1 and "failed" in self.line, f"the load did not fail: {self.code} {self.line}")
        failed = self.line["failed"]
        return failed["message"], failed["hint"] or ""


def delivery(store, bucket, source, staging, port=None, keys=None, **load):
    """What `anole dataset run` reads. `source` is a folder or an `Origin` of a job."""
    keys = keys or store.keys
    origin = source if isinstance(source, dict) else {"path": str(source)}
    opened = {"endpoint": store.endpoint(port), "region": "us-east-1", "access_key": keys.access,
              "secret_key": keys.secret}
    if store.tls:
        opened["trusted"] = store.certificate.read_text()
    where = {"store": opened, "bucket": bucket, "prefix": PREFIX, "transfers": 32, "delete_extra": True}
    return {"job": {"sources": [{"from": origin}]}, "staging": str(staging), "load": where | load}


def start(order):
    """A run; the delivery is on its standard input already."""
    command = [ANOLE, "dataset", "run"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    # It was told all that it needs; `communicate` is not to write again.
    process.stdin = None
    return process


def run(order):
    began = time.monotonic()
    process = start(order)
    out, err = process.communicate(timeout=300)
    secret = order["load"]["store"]["secret_key"]
    must(secret not in out + err, "the secret key is in what it printed")
    lines = [json.loads(line) for line in out.splitlines()]
    must(lines, f"it said nothing but {err!r}")
    return Ended(process.returncode, lines[-1], time.monotonic() - began)


class Reader:
    """What another client finds in the bucket."""

    def __init__(self, store, bucket):
        self.client, self.bucket = store.client(), bucket

    def objects(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=PREFIX)
        found = [one for page in pages for one in page.get("Contents", [])]
        return {one["Key"]: (one["Size"], one["ETag"].strip('"')) for one in found}

    def read(self, key):
        """The content, or nothing where there is none."""
        try:
            return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise

    def uploads(self):
        """The unfinished uploads: by key, for each the tags of the parts that arrived."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        uploads = {}
        for one in found:
            try:
                told = self.client.list_parts(Bucket=self.bucket, Key=one["Key"], UploadId=one["UploadId"])
            except botocore.exceptions.ClientError as error:
                # It became an object since it was listed.
                if error.response["Error"]["Code"] == "NoSuchUpload":
                    continue
                raise
            parts = {part["PartNumber"]: part["ETag"].strip('"') for part in told.get("Parts", [])}
            uploads.setdefault(one["Key"], []).append(parts)
        return uploads

    def settle(self):
        """Waits until what was on its way when a run was killed has arrived, or has not: two looks find the same."""
        before = None
        for _ in range(50):
            time.sleep(0.2)
            now = self.objects(), self.uploads()
            if now == before:
                return
            before = now
        raise Wrong("the bucket does not come to rest")

    def not_there(self, wanted):
        """The objects that are not there as wanted, by key. One whose parts have all arrived is still to be made."""
        there = self.objects()
        wanted = {PREFIX + below: object for below, object in wanted.items()}
        return {key: object for key, object in wanted.items() if there.get(key) != (object["size"], object["etag"])}

    def still_missing(self, wanted):
        """What the next load has to send: keys, and `key#number` for parts."""
        uploads, missing = self.uploads(), set()
        for key, object in self.not_there(wanted).items():
            if object["parts"] is None:
                missing.add(key)
                continue
            right = [
                {number for number, tag in parts.items() if tag == object["parts"][number - 1]}
                for parts in uploads.get(key, [])
            ]
            best = max(right, key=len, default=set())
            missing |= {f"{key}#{number}" for number in range(1, len(object["parts"]) + 1) if number not in best}
        return missing

    def must_be_whole(self, wanted, only=None):
        """All is there, nothing else is, every byte is right, and the manifest says so."""
        manifest, there = self.read(MANIFEST), self.objects()
        must(manifest, "there is no manifest")
        listed = {one["key"]: one for one in json.loads(manifest)["objects"]}
        must(listed.keys() == wanted.keys(), f"the manifest lists others: {set(listed) ^ set(wanted)}")
        keys = {PREFIX + below for below in wanted} | {MANIFEST}
        must(there.keys() == keys, f"other objects are there: {there.keys() ^ keys}")
        must(not self.uploads(), f"unfinished uploads are left: {self.uploads()}")

        def one(below):
            content, object = self.read(PREFIX + below), wanted[below]
            digest = hashlib.sha256(content).hexdigest()
            must(digest == object["sha256"], f"{below} is not what was sent")
            said = (listed[below]["size"], listed[below]["sha256"], listed[below]["etag"])
            must(said == (object["size"], digest, there[PREFIX + below][1]), f"the manifest says {said} of {below}")

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(one, wanted if only is None else only))


class Watcher:
    """A reader who looks all the time whether a manifest lists what is not there."""

    def __init__(self, store, bucket):
        self.reader = Reader(store, bucket)
        self.looks, self.with_manifest, self.wrong = 0, 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failed):
        self.over.set()
        self.thread.join()
        if not any(failed):
            must(not self.wrong, f"the watcher saw what must not be: {self.wrong[:3]}")

    def must_have_seen(self):
        must(self.with_manifest > 0, f"the watcher looked {self.looks} times and never found a manifest")

    def _watch(self):
        while not self.over.wait(0.02):
            try:
                self.look()
            except Exception as error:
                # Whatever it is: who does not look sees nothing wrong.
                self.wrong.append(f"the watcher could not look: {error!r}")
                return

    def look(self):
        before = self.reader.read(MANIFEST)
        self.looks += 1
        if not before:
            return
        there = self.reader.objects()
        # A manifest that is the same before and after was there all the while, or nothing was changed.
        if self.reader.read(MANIFEST) != before:
            return
        self.with_manifest += 1
        for one in json.loads(before)["objects"]:
            if there.get(PREFIX + one["key"]) != (one["size"], one["etag"]):
                self.wrong.append(f"a manifest lists what is not there: {one['key']}: {there.get(PREFIX + one['key'])}, listed as {one}")


@contextlib.contextmanager
def bucket(store, name):
    """A bucket of a scenario's own."""
    client = store.client()
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        for one in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
            client.abort_multipart_upload(Bucket=name, Key=one["Key"], UploadId=one["UploadId"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            keys = [{"Key": one["Key"]} for one in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
        client.delete_bucket(Bucket=name)
