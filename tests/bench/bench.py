"""Runs the rounds of `tests/bench/run`: compare, block or all.

In: ANOLE, TERRAFORM, PROVIDER, PROVIDER_VERSION, CACHE and ROOT from `run`, and the lab. Out: Markdown tables on
standard output, all figures in a JSON file, progress on standard error.

Invariants: each tool starts from an empty project of its own, and the tools take turns within a round; what was made
and what is left is checked by a client that is neither of them; a command that does not do what it should ends the
bench with its output.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from lab import Project
from report import blocks, comparison
from tools import CHANGES, Anole, Terraform
from traffic import Traffic

CACHE, ROOT = pathlib.Path(os.environ["CACHE"]), pathlib.Path(os.environ["ROOT"])
LOGS = pathlib.Path(os.environ["OS_CLIENT_CONFIG_FILE"]).parent / "log" / "requests"
# anole's default; Terraform's is 10. One of the contestants is Terraform with this many.
PARALLELISM = 16
CONTESTANTS = {
    "anole": Anole,
    "terraform": Terraform,
    f"terraform-{PARALLELISM}": lambda *given: Terraform(*given, parallelism=PARALLELISM),
}
# What each tool is to make, whoever counts.
MADE = {
    "volumes": 8, "security groups": 8, "rules": 8, "servers": 4, "ports": 4, "floating IPs": 4, "attachments": 4,
}


class Block(Anole):
    source = ROOT / "specs" / "block.yaml"

    def __init__(self, *given):
        super().__init__(*given)
        shutil.copy(self.source.parent / "example.pub", self.folder)

    def command(self, phase):
        command = super().command("destroy" if phase == "destroy" else "apply")
        command += [self.file.name, "--site", "kvm=bench"]
        return command + (["--include-protected"] if phase == "destroy" else [])

    def edit_image(self, before="image: CC-Ubuntu24.04", after="image: CC-Ubuntu22.04"):
        self.file.write_text(self.file.read_text().replace(before, after))


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def measure(tool, phase, command, wanted=0):
    """Runs one command and says what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Traffic(LOGS, tool.agent) as traffic:
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=tool.folder, env=tool.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != wanted:
        say(f"{tool.name}: {phase} exited with {done.returncode}, not {wanted}:\n{done.stdout}{done.stderr}")
        raise SystemExit(1)
    figures = {
        "seconds": round(took, 3),
        "requests": traffic.total,
        "by service": traffic.counts,
        "seconds in services": {name: ms / 1000 for name, ms in traffic.slow.items()},
        "cpu seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
        "plan": tool.summary(done.stdout),
        "calls": dict(traffic.calls.most_common()),
        "disturbed": tool.own_count() not in (None, traffic.total),
        "load": os.getloadavg()[0],
    }
    say(f"{tool.name}: {phase}: {figures['seconds']:.2f} s, {figures['requests']} requests")
    if figures["disturbed"]:
        say(f"{tool.name} itself sent {tool.own_count()}: somebody else uses it on this lab at the same time")
    return figures


def expect(project, wanted, name):
    """Checks what is in the project, by kind, with an independent client; gives what it looks like."""
    counts, looks = project.census()
    if counts != wanted:
        raise SystemExit(f"bench: after {name} the project has {counts}, not {wanted}")
    return looks


def compare_one(name, folder):
    """All phases of one tool: made from nothing, planned, planned with an edit, destroyed."""
    phases = {}
    with Project(folder) as project:
        tool = CONTESTANTS[name](name, folder / "work", project.environment())
        expect(project, {}, "the start")
        phases["apply"] = measure(tool, "apply", tool.command("apply"))
        looks = expect(project, MADE, f"{name}'s apply")
        phases["plan"] = measure(tool, "plan", tool.command("plan"))
        tool.edit_image()
        phases["edited"] = measure(tool, "plan of an edited image", tool.command("plan"), CHANGES)
        tool.restore()
        phases["destroy"] = measure(tool, "destroy", tool.command("destroy"))
        expect(project, {}, f"{name}'s destroy")
    return phases, looks


def compare(rounds, only, folder):
    """Rounds of all tools, each round begun by another one."""
    names = [name for name in CONTESTANTS if name in only]
    figures, looked = {name: [] for name in names}, {}
    for at in range(rounds):
        for name in names[at % len(names):] + names[:at % len(names)]:
            say(f"round {at + 1} of {rounds}: {name}")
            phases, looks = compare_one(name, fresh(folder / f"{at}-{name}"))
            figures[name].append(phases)
            if looked.setdefault("all", looks) != looks:
                raise SystemExit(f"bench: {name} made {looks}, and the first tool made {looked['all']}")
    return {"figures": figures, "made": looked["all"]}


def block(rounds, folder):
    """specs/block.yaml: made, the image edited and applied, destroyed with its volume."""
    figures = []
    for at in range(rounds):
        say(f"block, round {at + 1} of {rounds}")
        here = fresh(folder / f"{at}-block")
        with Project(here) as project:
            tool = Block("block", here / "work", project.environment())
            phases = {"apply": measure(tool, "apply", tool.command("apply"))}
            tool.edit_image()
            phases["edited"] = measure(tool, "apply of an edited image", tool.command("apply"))
            counts, _ = project.census()
            phases["destroy"] = measure(tool, "destroy", tool.command("destroy"))
            expect(project, {}, "the destroy of specs/block.yaml")
            figures.append(phases)
    return {"figures": {"anole": figures}, "made": counts}


def fresh(folder):
    folder.mkdir(parents=True)
    return folder


def versions(what):
    """What was measured, on what."""
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    found = {"anole": f"{Anole.version()} ({commit or 'no commit'})"}
    if what != "block":
        found["terraform"] = Terraform.version()
    wanted = ("keystone", "nova", "neutron", "cinder", "glance", "blazar")
    pins = (ROOT / "tests" / "openstack" / "requirements.txt").read_text().split()
    pins = [pin.split("==") for pin in pins if "==" in pin]
    found["services"] = ", ".join(f"{name} {version}" for name, version in pins if name in wanted)
    found["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    found["when"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    found["load at the start"] = f"{os.getloadavg()[0]:.1f}"
    return found


def arguments():
    parser = argparse.ArgumentParser(prog="run")
    parser.add_argument("what", choices=["compare", "block", "all"])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--only", default=",".join(CONTESTANTS))
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    given.only = given.only.split(",")
    unknown = [name for name in given.only if name not in CONTESTANTS]
    if unknown or given.rounds is not None and given.rounds < 1:
        parser.error(f"no such tool: {', '.join(unknown)}" if unknown else "there is one round at least")
    return given


def main():
    given = arguments()
    results = {"versions": versions(given.what)}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="work-", dir=CACHE))
    try:
        if given.what != "block":
            results["compare"] = compare(given.rounds or 3, given.only, folder)
        if given.what != "compare":
            results["block"] = block(given.rounds or 1, folder)
    finally:
        if given.keep:
            say(f"the tools ran in {folder}")
        else:
            shutil.rmtree(folder)
    stamp = results["versions"]["when"].replace(":", "").replace("+0000", "Z")
    path = given.json or CACHE / "results" / f"{stamp}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    for name, version in results["versions"].items():
        print(f"- {name}: {version}")
    if "compare" in results:
        print(f"\n{comparison(results['compare']['figures'])}")
    if "block" in results:
        print(f"\n{blocks(results['block']['figures']['anole'])}")
    say(f"all figures are in {path}")


if __name__ == "__main__":
    main()
