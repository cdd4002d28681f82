"""Loads that are killed, failed and fooled, on a real store: what is there after, and what is said.

In: ANOLE (a program); `embedded`, `lab` or both as arguments; --seed. Out: a line for each scenario, and at the end how
many passed. Fails when one does.
"""

import argparse
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
import zipfile

import stores
from kit import MANIFEST, PREFIX, Data, Reader, Watcher, Wrong, bucket, delivery, must, run, start
from proxy import Faults, Proxy

KILLS = 20


class Scene:
    """What a scenario is given: a store, a bucket of its own, a folder, chance by a seed."""

    def __init__(self, store, name, folder, seed):
        self.store, self.bucket, self.folder = store, name, pathlib.Path(folder)
        self.chance = random.Random(seed)
        self.reader = Reader(store, name)

    def data(self, **given):
        return Data(self.folder / "source", self.chance.randrange(2**32), **given)

    def order(self, source=None, **given):
        source = source or self.folder / "source"
        return delivery(self.store, self.bucket, source, self.folder / "staging", **given)

    def delivers(self, **given):
        return run(self.order(**given)).delivered


def sent(proxy):
    """What was sent of the dataset, each once, and how often in all."""
    carried = [one.carries for one in proxy.seen if one.carries and "/.anole/" not in one.carries]
    return set(carried), len(carried)


def must_send_only(proxy, missing):
    came, times = sent(proxy)
    must(came == missing, f"sent though there: {sorted(came - missing)[:5]}; not sent: {sorted(missing - came)[:5]}")
    must(times == len(missing), f"{times} requests carried {len(missing)} objects and parts")


def completes(seen, _):
    """Whether a request makes an object of parts that are all there."""
    return seen.method == "POST" and "uploadId" in seen.query


def killed(order, proxy, when, how):
    """A run that is killed when a request comes, or in the middle of it. Whether it came so far."""
    process = None

    def kill(seen, number):
        if when(seen, number):
            os.kill(process.pid, signal.SIGKILL)
            return how
        return ""

    proxy.fresh(Faults(order=kill))
    process = start(order)
    process.communicate(timeout=300)
    return process.returncode == -signal.SIGKILL


def twenty_kills(scene):
    """Killed at twenty moments; each time the next load sends what is missing, and nothing else."""
    data, resumed, spared, moments = scene.data(), 0, 0, []
    with Proxy(scene.store.port) as proxy, Watcher(scene.store, scene.bucket) as watcher:
        scene.delivers(port=proxy.port)
        scene.reader.must_be_whole(data.wanted)
        requests = 120
        for number in range(KILLS):
            data.change()
            order = scene.order(port=proxy.port)
            # Spread over the load: one in each twentieth of it, and some when all parts of a large object are there.
            at, how = max(1, int((number + scene.chance.random()) * requests / KILLS)), scene.chance.choice(["", "cut"])
            if number % 7 == 3:
                was, moment = killed(order, proxy, completes, "cut"), "a completion"
            else:
                was, moment = killed(order, proxy, lambda _, count, at=at: count == at, how), str(at)
            moments.append(moment if was else f"{moment} (over)")
            scene.reader.settle()
            missing = scene.reader.still_missing(data.wanted)
            proxy.fresh()
            report = scene.delivers(port=proxy.port)["report"]
            must_send_only(proxy, missing)
            resumed, spared = resumed + report["resumed_parts"], spared + len(data.wanted) - report["sent"]
            requests = len(proxy.seen) if number == 0 else requests
            scene.reader.must_be_whole(data.wanted)
        proxy.fresh()
        report = scene.delivers(port=proxy.port)["report"]
        must(report["sent"] == 0 and not sent(proxy)[0], "a load of what is there sent something")
    watcher.must_have_seen()
    must(resumed > 0, "no part was ever carried on")
    return f"killed at requests {', '.join(moments)}; {resumed} parts carried on; the watcher looked {watcher.looks} " \
        f"times and found a manifest {watcher.with_manifest} times"


def kills_over_tls(scene):
    """Killed by the clock: nothing can count inside TLS. What is there after is the same."""
    data = scene.data(small=60, large=(33 << 20,))
    with Watcher(scene.store, scene.bucket) as watcher:
        began = time.monotonic()
        scene.delivers()
        took = time.monotonic() - began
        for number in range(4):
            data.change()
            process = start(scene.order())
            time.sleep(took * (number + scene.chance.random()) / 4)
            process.kill()
            process.communicate()
            scene.reader.settle()
            missing = scene.reader.not_there(data.wanted)
            report = scene.delivers()["report"]
            must(report["sent"] == len(missing), f"sent {report['sent']}, and {len(missing)} were missing")
            scene.reader.must_be_whole(data.wanted)
    watcher.must_have_seen()
    return f"the watcher looked {watcher.looks} times and found a manifest {watcher.with_manifest} times"


def a_bad_store(scene):
    """503 one time in five, and one connection in fifty cut: it takes longer, and all is right."""
    data = scene.data()
    with Proxy(scene.store.port, Faults(0.2, 0.02, seed=5)) as proxy, Watcher(scene.store, scene.bucket):
        for _ in range(2):
            delivered = scene.delivers(port=proxy.port)
            scene.reader.must_be_whole(data.wanted)
            data.change()
        failed = [one for one in proxy.seen if one.failed]
    return f"{len(failed)} of {len(proxy.seen)} requests failed; the second load took {delivered['seconds']:.1f} s"


def a_store_that_stays_bad(scene):
    """From some request on everything is 503: given up, the object named, no manifest; later carried on."""
    data = scene.data(small=40, large=())
    fails = lambda _, number: "slow" if number > 25 else ""
    with Proxy(scene.store.port, Faults(order=fails)) as proxy:
        message, hint = run(scene.order(port=proxy.port)).failure
        names = [key for key in data.wanted if f"`{PREFIX}{key}`" in message]
        must(names and "503" in message and "tried" in message, f"it says: {message}")
        must(hint, f"no hint for: {message}")
        must(scene.reader.read(MANIFEST) is None, "there is a manifest")
        missing = scene.reader.still_missing(data.wanted)
        proxy.fresh()
        scene.delivers(port=proxy.port)
        must_send_only(proxy, missing)
    scene.reader.must_be_whole(data.wanted)
    return message


def keys_that_end(scene):
    """The credential is deleted while the load runs: no manifest, the object and what to do; later carried on."""
    data = scene.data(small=80, large=(33 << 20,))
    scene.delivers()
    data.change()
    keys = scene.store.site.make_keys()

    def end(_, number):
        if number == 20:
            scene.store.site.end_keys(keys)

    with Proxy(scene.store.port, Faults(order=end)) as proxy, Watcher(scene.store, scene.bucket):
        message, hint = run(scene.order(port=proxy.port, keys=keys)).failure
        names = [key for key in data.wanted if f"`{PREFIX}{key}`" in message]
        must(names and "InvalidAccessKeyId" in message, f"it says: {message}")
        must("deleted" in hint, f"its hint: {hint}")
        must(keys.secret not in message + hint and scene.reader.read(MANIFEST) is None, "there is a manifest")
        missing = scene.reader.still_missing(data.wanted)
        proxy.fresh()
        scene.delivers(port=proxy.port)
        must_send_only(proxy, missing)
    scene.reader.must_be_whole(data.wanted)
    return f"{message}; {hint}"


def archives_that_are_wrong(scene):
    """A wrong digest, a zip that is cut off, a zip that leads out: refused before the bucket is touched."""
    data = scene.data(small=20, large=())
    scene.delivers()
    manifest, before = scene.reader.read(MANIFEST), scene.reader.objects()
    good, cut, out = (scene.folder / name for name in ("good.zip", "cut.zip", "out.zip"))
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in data.wanted:
            archive.write(scene.folder / "source" / key, key)
    cut.write_bytes(good.read_bytes()[:-4000])
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("training/1.jpg", b"fine")
        archive.writestr("training/../../escaped.jpg", b"not fine")
    said = []
    cases = [
        ({"url": {"url": good.as_uri(), "sha256": "0" * 64}}, ["good.zip", "0000"]),
        ({"path": str(cut)}, ["cut.zip"]),
        ({"path": str(out)}, ["out.zip", "escaped.jpg"]),
    ]
    with Watcher(scene.store, scene.bucket):
        for source, words in cases:
            message, hint = run(scene.order(source=source)).failure
            must(all(word in message for word in words), f"it says: {message}")
            must(scene.reader.read(MANIFEST) == manifest, "the manifest is another one")
            must(scene.reader.objects() == before, "objects changed")
            said.append(f"{message} ({hint})")
    must(not list(scene.folder.parent.rglob("escaped.jpg")), "a name led out of the staging folder")
    scene.reader.must_be_whole(data.wanted)
    return "; ".join(said)


SCENARIOS = {
    "embedded": [twenty_kills, a_bad_store, a_store_that_stays_bad, keys_that_end, archives_that_are_wrong],
    # Its gateway believes a deleted credential for five minutes; archives do not reach it.
    "lab": [twenty_kills, a_bad_store],
    "tls": [kills_over_tls],
}


def play(store, scenarios, folder, given):
    passed = failed = 0
    for at, scenario in enumerate(scenarios):
        name, began = scenario.__name__.replace("_", " "), time.monotonic()
        here = folder / f"{at}"
        here.mkdir(parents=True)
        # No two runs have the same bucket: a gateway may still delete the last one.
        with bucket(store, f"anole-datasets-{os.getpid()}-{at}{'-tls' if store.tls else ''}") as made:
            try:
                told = scenario(Scene(store, made, here, given.seed))
                passed += 1
                print(f"ok: {name} on {store.name}, {time.monotonic() - began:.0f} s: {told}", flush=True)
            except Wrong as wrong:
                failed += 1
                print(f"FAILED: {name} on {store.name} (--seed {given.seed}): {wrong}", flush=True)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(prog="tests/datasets/run")
    parser.add_argument("stores", nargs="*", default=["embedded"])
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--only", default="", help="scenarios whose names hold this")
    given = parser.parse_args()
    total = [0, 0]
    with tempfile.TemporaryDirectory(prefix="anole-datasets-") as folder:
        folder = pathlib.Path(folder)
        opened = {
            "embedded": lambda: stores.embedded(os.environ["ANOLE"], folder / "cloud"),
            "lab": stores.lab,
            "tls": lambda: stores.lab(tls=True),
        }
        for name in [one for asked in given.stores for one in (["lab", "tls"] if asked == "lab" else [asked])]:
            chosen = [one for one in SCENARIOS[name] if given.only in one.__name__]
            with opened[name]() as store:
                total = [sum(pair) for pair in zip(total, play(store, chosen, folder / name, given))]
    print(f"\n{total[0]} passed, {total[1]} failed")
    sys.exit(total[1] > 0 or not total[0])


if __name__ == "__main__":
    main()
