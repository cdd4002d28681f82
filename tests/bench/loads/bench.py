"""Runs the rounds of `tests/bench/loads/run`.

In: ANOLE, RCLONE, S5CMD, VERSITYGW and CACHE from `run`. Out: a Markdown table on standard output, all figures in a JSON
file, progress on standard error.

Invariants: every program loads the same files into an empty bucket of its own on one store, and then again; the
programs take turns at going first; source and store are in memory, so that no disk is measured; after each load a client
that is none of them counts what is there. Requests are counted in a round of their own, through a proxy, and so is memory,
for which a program is looked at again and again; that round's seconds are not used.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "datasets"))

import stores  # noqa: E402
from loaders import LOADERS, PREFIX  # noqa: E402
from proxy import Proxy  # noqa: E402

CACHE = pathlib.Path(os.environ["CACHE"])
# Name: how many files, and how large each is.
SETS = {"many": (10_000, 70_000), "large": (4, 1 << 30)}
PHASES = [("many", False), ("large", False), ("many", True), ("large", True)]
# How often a round loads the same again: these are so short that one of them says little.
AGAIN = 3
SIZES = {70_000: "70 KB", 1 << 30: "1 GiB"}


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def count_of(name, scale):
    return max(1, int(SETS[name][0] * scale))


def words(name, again, scale):
    count, size = count_of(name, scale), SIZES[SETS[name][1]]
    return f"the {count:,} of {size} again, unchanged" if again else f"{count:,} files of {size}"


def make(folder, name, scale):
    """Files of random content, which no store and no proxy can make smaller."""
    count, size = count_of(name, scale), SETS[name][1]
    chance = random.Random(name)
    for at in range(count):
        path = folder / f"class_{at % 11:02}" / f"{at:05}.jpg" if count > 11 else folder / f"{at}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            for left in range(size, 0, -(64 << 20)):
                file.write(chance.randbytes(min(left, 64 << 20)))
    # anole remembers no digest of a file that was just written.
    time.sleep(3)
    return count, count * size


@contextlib.contextmanager
def versity(folder):
    """Versity's gateway over files in memory."""
    root, port = pathlib.Path(folder) / "store", stores.free_port()
    root.mkdir()
    keys = stores.Keys("bench", "bench-secret-key")
    command = [os.environ["VERSITYGW"], "--access", keys.access, "--secret", keys.secret, "--port",
               f"127.0.0.1:{port}", "--quiet", "--keep-alive", "posix", str(root)]
    served = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with stores.ended(served):
        stores.answers(port)
        store = stores.Store("Versity's gateway", port, keys)
        store.provider = "Other"
        yield store


@contextlib.contextmanager
def ceph(_):
    with stores.lab() as store:
        store.provider = "Ceph"
        yield store


def peak_of(process):
    """The most memory that a process has until it is over, as the system says while it runs: what `wait` says counts the
    memory of this program too, which it was a copy of."""
    peak = 0
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(status.split("VmHWM:")[1].split()[0]))
        time.sleep(0.005)
    return peak << 10


def spent(process, began):
    """What a process took, once it is over."""
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return {"seconds": round(took, 4), "cpu": round(usage.ru_utime + usage.ru_stime, 3)}


def measure(loader, store, bucket, source, again, port=None):
    """One command, whole: from its start to its end."""
    given = loader.given(store, bucket, source, loader.folder, port)
    output = loader.folder / "output"
    environment = {"PATH": os.environ["PATH"], "HOME": str(loader.folder), **loader.environment(store)}
    with open(output, "wb") as out:
        command = loader.command(store, bucket, source, port, again)
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE if given else subprocess.DEVNULL, stdout=out, stderr=out
        )
        if given:
            process.stdin.write(given.encode())
            process.stdin.close()
        # To look at it takes time from a short run.
        memory = {"memory": peak_of(process)} if port else {}
        figures = memory | spent(process, began)
    if process.returncode:
        raise SystemExit(f"bench: {loader.name} exited with {process.returncode}:\n{output.read_text()[-3000:]}")
    return figures | {"load": os.getloadavg()[0]}


def expect(store, bucket, wanted, extra):
    """That so many objects with so many bytes are there."""
    pages = store.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX + "/")
    found = [one for page in pages for one in page.get("Contents", [])]
    sizes, count = [one["Size"] for one in found if "/.anole/" not in one["Key"]], len(found)
    if (len(sizes), sum(sizes)) != wanted or count != wanted[0] + extra:
        raise SystemExit(f"bench: {len(sizes)} objects, {sum(sizes)} bytes, {count} in all, where {wanted} were loaded")


@contextlib.contextmanager
def bucket(store, name):
    client = store.client()
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
        keys = [[{"Key": one["Key"]} for one in page.get("Contents", [])] for page in pages]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda some: some and client.delete_objects(Bucket=name, Delete={"Objects": some}), keys))
        client.delete_bucket(Bucket=name)


def one(loader, store, source, wanted, count):
    """A load and loads of the same again. With `count`, through a proxy, and one of each."""
    loader.fresh()
    figures = {False: [], True: []}
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(bucket(store, f"bench-{os.getpid()}-{loader.name}"))
        proxy = stack.enter_context(Proxy(store.port)) if count else None
        for again in [False] + [True] * (1 if count else AGAIN):
            if proxy:
                proxy.fresh()
            got = measure(loader, store, made, source, again, proxy.port if proxy else None)
            if proxy:
                methods = [seen.method for seen in proxy.seen]
                counts = {name: methods.count(name) for name in set(methods)}
                got = {"requests": len(methods), "methods": counts, "memory": got["memory"]}
            else:
                say(f"{loader.name}{', again' if again else ''}: {got['seconds']:.3f} s")
            figures[again].append(got)
            expect(store, made, wanted, loader.extra_objects)
    return figures


def rounds(given, store, folder):
    names = [name for name in LOADERS if name in given.only]
    figures = {phase: {name: [] for name in names} for phase in PHASES}
    requests = {phase: {} for phase in PHASES}
    for name in given.sets:
        source = folder / name
        say(f"making the files: {name}")
        wanted = make(source, name, given.scale)
        for at in range(given.rounds + 1):
            # The first one counts requests, and warms everything up.
            for tool in names[at % len(names):] + names[:at % len(names)]:
                got = one(LOADERS[tool](tool, folder / tool), store, source, wanted, at == 0)
                for again, numbers in got.items():
                    if at == 0:
                        requests[name, again][tool] = numbers[0]
                    else:
                        figures[name, again][tool] += numbers
        shutil.rmtree(source)
    return figures, requests


def table(figures, requests, scale):
    head = ["what", "program", "seconds: median (least–most)", "requests", "peak memory", "CPU seconds",
            "seconds ÷ anole's"]
    rows = [head, ["---"] * len(head)]
    for phase in PHASES:
        name, base = words(*phase, scale), None
        for tool, runs in figures[phase].items():
            if not runs:
                continue
            took = [run["seconds"] for run in runs]
            middle = statistics.median(took)
            base = middle if tool == "anole" else base
            counted, cpu = requests[phase][tool], statistics.median(run["cpu"] for run in runs)
            places = 2 if middle > 1 else 3
            seconds = [f"{one:.{places}f}" for one in (middle, min(took), max(took))]
            rows.append([
                name, tool, "{} ({}–{})".format(*seconds), f"{counted['requests']:,}",
                f"{counted['memory'] / (1 << 20):.0f} MiB", f"{cpu:.2f}", f"{middle / base:.2f} ×" if base else "–",
            ])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def versions(store):
    def first(*command):
        return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0].strip()

    return {
        "anole": first(os.environ["ANOLE"], "--version"),
        "rclone": first(os.environ["RCLONE"], "version"),
        "s5cmd": first(os.environ["S5CMD"], "version"),
        "store": store.name,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/loads/run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", choices=["versity", "ceph"], default="versity")
    parser.add_argument("--sets", default="many,large", help="many, large or both")
    parser.add_argument("--scale", type=float, default=1, help="a share of the files, to try it")
    parser.add_argument("--only", default=",".join(LOADERS))
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/dev/shm"),
                        help="where source and store lie: 12 GB (/dev/shm, which is memory)")
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    given.sets, given.only = given.sets.split(","), given.only.split(",")
    if set(given.sets) - set(SETS) or set(given.only) - set(LOADERS) or given.rounds < 1:
        parser.error("no such set or program, or no round")
    return given


def main():
    given = arguments()
    opened = {"versity": versity, "ceph": ceph}[given.store]
    with tempfile.TemporaryDirectory(prefix="anole-bench-", dir=given.folder) as folder, opened(folder) as store:
        told = versions(store)
        figures, requests = rounds(given, store, pathlib.Path(folder))
    for name, version in told.items():
        print(f"- {name}: {version}")
    print(f"\n{table(figures, requests, given.scale)}")
    stamp = told["when"].replace(":", "").replace("+0000", "Z")
    path = given.json or CACHE / "results" / f"loads-{stamp}.json"
    named = {f"{name}{' again' if again else ''}": one for (name, again), one in figures.items()}
    asked = {f"{name}{' again' if again else ''}": one for (name, again), one in requests.items()}
    path.write_text(json.dumps({"versions": told, "figures": named, "requests": asked}, indent=1) + "\n")
    say(f"all figures are in {path}")


if __name__ == "__main__":
    main()
