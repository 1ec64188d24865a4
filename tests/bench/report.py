"""docs/BENCHMARKS.md: the table and the notes between its two marks, from build/bench.jsonl; and the plots."""
import json
import math
import os
import platform
import subprocess
import time

import cases
from harness import BENCH, ROOT

DOC, PLOTS = f"{ROOT}/docs/BENCHMARKS.md", f"{ROOT}/docs/plots"
BEGIN, END = "<!-- figures: written by `tools/bench DIR --report` -->", "<!-- /figures -->"


# ---- SVG, by hand ----

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 56, 178, 40, 52
COLOURS = {"CX collapsed": "#b3001b", "CX through the server": "#e8590c", "oneTBB": "#1971c2", "OpenMP": "#0b7285",
           "Open MPI": "#2b8a3e", "beanstalkd": "#7048e8", "gearmand": "#868e96"}


def _text(x, y, text, anchor="middle", colour="#222", size=12, extra=""):
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{extra}>{text}</text>'


def _line(x1, y1, x2, y2, colour="#ddd", width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _page(title, body, height=HEIGHT):
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                      f'height="{height}" font-family="sans-serif">',
                      f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
                      _text(LEFT, 22, title, "start", size=15), *body, "</svg>"]) + "\n"


def length(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size * 0.999:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.1e} s"


def _spread(wanted, least):
    """Places for labels: near where they want to be, in the same order, no two closer than least."""
    placed = []
    for y, key in sorted(wanted):
        placed.append((max(y, placed[-1][0] + least) if placed else y, key))
    return {key: y for y, key in placed}


def efficiency_svg(curves, metg_us):
    lo = min(p[0] for c in curves.values() for p in c)
    hi = max(p[0] for c in curves.values() for p in c)
    lo, hi = math.floor(math.log10(lo) + 0.05), math.ceil(math.log10(hi) - 0.05)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(seconds, efficiency):
        return (LEFT + (math.log10(seconds) - lo) / (hi - lo) * (right - LEFT),
                bottom - min(efficiency, 1.05) / 1.05 * (bottom - TOP))

    body = [_text(18, (TOP + bottom) / 2, "efficiency", extra=f' transform="rotate(-90 18 {(TOP + bottom) / 2:.0f})"')]
    for e in (0, 0.25, 0.5, 0.75, 1):
        y = at(1, e)[1]
        body += [_line(LEFT, y, right, y, "#888" if e == 0.5 else "#ddd"), _text(LEFT - 6, y + 4, f"{e:g}", "end")]
    for k in range(lo, hi + 1):
        px = at(10.0 ** k, 0)[0]
        body += [_line(px, TOP, px, bottom), _text(px, bottom + 18, length(10.0 ** k))]
    body.append(_text((LEFT + right) / 2, HEIGHT - 12, "length of a task's own work"))
    labels = _spread([(TOP + 10 + 24 * i, n) for i, (_, n) in enumerate(sorted((v, n) for n, v in metg_us.items()))], 22)
    for name, points in curves.items():
        colour = COLOURS.get(name, "#000")
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in (at(*p) for p in points))
        width = 3 if name.startswith("CX") else 1.6
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        body += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.4" fill="{colour}"/>' for px, py in (at(*p) for p in points)]
        y = labels[name]
        body += [_line(right + 12, y - 4, right + 30, y - 4, colour, width),
                 _text(right + 35, y, name, "start", colour, 12),
                 _text(right + 35, y + 11, f"half at {length(metg_us[name] / 1e6)}", "start", "#666", 9)]
    return _page("Efficiency against task length, two workers on two cores", body)


def bars_svg(title, bars, form):
    """Horizontal bars on a log axis; bars: [(name, value)]."""
    values = [v for _, v in bars]
    lo, hi = math.floor(math.log10(min(values)) - 0.2), math.log10(max(values))
    body, height = [], TOP + 34 * len(bars) + 16
    for i, (name, v) in enumerate(bars):
        y, w = TOP + 34 * i, (math.log10(v) - lo) / (hi - lo) * (WIDTH - 330)
        colour = "#b3001b" if name.startswith("CX") else "#868e96"
        body += [_text(200, y + 19, name, "end"),
                 f'<rect x="210" y="{y + 4}" width="{w:.1f}" height="22" fill="{colour}"/>',
                 _text(218 + w, y + 19, form(v), "start")]
    return _page(title + " (log axis)", body, height)


# ---- The page ----

def _detail(bench):
    path = f"{BENCH}/{bench}.json"
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return json.load(f)


def _number(v):
    if v is None:
        return "-"
    if isinstance(v, float) and abs(v) < 1000:
        return f"{v:.4g}"
    return f"{v:,.0f}"


def _ratio(v):
    return "-" if v is None else f"{v:.3g}"


def _table(records):
    rows = ["| case | CX | unit | bar | met | against | its figure | ratio |", "|---|--:|---|--:|---|---|--:|--:|"]
    for r in records:
        met = "-" if r["bar"] is None else "yes" if r["met"] else "**no**"
        rows.append(f"| `{r['bench']}` | {_number(r['value'])} | {r['unit']} | {_number(r['bar'])} | {met} | "
                    f"{r['baseline']} | {_number(r['baseline_value'])} | {_ratio(r['ratio'])} |")
    return rows


def _notes(records):
    rows = []
    for r in records:
        d = _detail(r["bench"])
        rows += [f"- **{r['bench']}**: {d.get('note', '')}", f"  `{d.get('command', '')}`"]
    return rows


def _machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always"], capture_output=True, text=True).stdout.strip()
    return (f"Page written {time.strftime('%Y-%m-%d')} at commit {commit}, {os.cpu_count()} cores ({model}, Linux "
            f"{platform.release()}). A line is of its case's latest run, which may be of an earlier commit.")


def _plots():
    os.makedirs(PLOTS, exist_ok=True)
    metg, noop, trip, one = (_detail(n) for n in ("metg_server", "server_noop", "round_trip", "collapsed_task"))
    middle = lambda values: sorted(values)[len(values) // 2]  # noqa: E731
    if metg:
        _write("efficiency", efficiency_svg(metg["curves"], metg["metg_us"]))
    if trip:
        _write("round_trip", bars_svg("One task there and back, p50", [
            ("CX (server to producer)", middle(trip["p50_us"])), ("Open MPI, shared memory", middle(trip["mpi_us"])),
            ("beanstalkd", middle(trip["beanstalkd_us"])), ("gearmand", middle(trip["gearmand_us"]))],
            lambda v: f"{v:.3g} us"))
    if noop.get("mpi") and one:
        _write("noop", bars_svg("No-op tasks a second, two workers", [
            ("CX through the server", middle(noop["cx"])), ("Open MPI, shared memory", middle(noop["mpi"])),
            ("beanstalkd", middle(noop["beanstalkd"])), ("gearmand", middle(noop["gearmand"]))],
            lambda v: f"{v:,.0f}"))
        _write("fib", bars_svg("fib(30) as tasks all the way down, one thread", [
            ("CX collapsed", middle(one["cx_ns"])), ("oneTBB", middle(one["tbb_ns"])),
            ("OpenMP", middle(one["openmp_ns"]))], lambda v: f"{v:.3g} ns a task"))


def _write(name, svg):
    with open(f"{PLOTS}/{name}.svg", "w") as f:
        f.write(svg)


def write(records):
    order = {name: i for i, name in enumerate(cases.CASES)}
    lines = sorted(records.lines.values(), key=lambda r: (order.get(r["bench"], len(order)), r["bench"]))
    _plots()
    figures = [BEGIN, "", _machine(), "", *_table(lines), "", "### How each was got", "", *_notes(lines), "", END]
    with open(DOC) as f:
        text = f.read()
    head, rest = text.split(BEGIN)
    tail = rest.split(END, 1)[1]
    with open(DOC, "w") as f:
        f.write(head + "\n".join(figures) + tail)
