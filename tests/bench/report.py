"""From figures to Markdown: medians, spreads, and how many times as much as anole each tool takes."""

import statistics

SERVICES = ["keystone", "nova", "neutron", "cinder", "glance", "placement", "blazar"]
PHASES = {
    "apply": "apply, from nothing",
    "plan": "plan, nothing to do",
    "edited": "plan, one image edited",
    "destroy": "destroy",
}
BLOCK = {"apply": "apply, from nothing", "edited": "apply, image edited", "destroy": "destroy, the volume too"}


def seconds(rounds, phase):
    values = [one[phase]["seconds"] for one in rounds]
    middle = statistics.median(values)
    spread = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
    return middle, f"{middle:.2f}{spread}"


def requests(rounds, phase):
    """The median of all requests, and of each service's."""
    total = statistics.median(one[phase]["requests"] for one in rounds)
    parts = []
    for name in SERVICES:
        count = statistics.median(one[phase]["by service"].get(name, 0) for one in rounds)
        if count:
            parts.append(f"{name} {count:g}")
    return total, ", ".join(parts)


def row(*cells):
    return f"| {' | '.join(cells)} |"


def times(value, base):
    return f"{value / base:.1f} ×" if base else "–"


def comparison(figures):
    """One row for each phase and tool; the last two columns are against anole."""
    head = ["phase", "tool", "seconds: median (least–most)", "requests", "by service", "seconds ÷ anole's",
            "requests ÷ anole's"]
    rows = [row(*head), row(*["---"] * len(head))]
    for phase, name in PHASES.items():
        base = None
        for tool, rounds in figures.items():
            took, text = seconds(rounds, phase)
            total, parts = requests(rounds, phase)
            if tool == "anole":
                base = (took, total)
            ratios = (times(took, base[0]), times(total, base[1])) if base else ("–", "–")
            marked = " (disturbed)" if any(one[phase]["disturbed"] for one in rounds) else ""
            rows.append(row(name, tool + marked, text, f"{total:g}", parts, *ratios))
    plans = [f"- {tool}: {rounds[0]['edited']['plan']}" for tool, rounds in figures.items()]
    return "\n".join([*rows, "", "With one image edited, they plan:", "", *plans])


def blocks(rounds):
    head = ["specs/block.yaml", "seconds: median (least–most)", "requests", "by service"]
    rows = [row(*head), row(*["---"] * len(head))]
    for phase, name in BLOCK.items():
        total, parts = requests(rounds, phase)
        rows.append(row(name, seconds(rounds, phase)[1], f"{total:g}", parts))
    return "\n".join(rows)
