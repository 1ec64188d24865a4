"""The cases of the replicated network: what being safe from failures costs, and work that spreads over pairs."""
import os

from cases import TIMES, case, check
from harness import cpu_s, median, record


# ---- What it costs ----

class Cost:
    """One server and a pair, which run the same jobs in turns."""

    def __init__(self, x, options=()):
        self.nets = [x.network(server_options=options), x.pairs(options=["--no-journal", *options])]
        self.servers = [self.nets[0].server, *self.nets[1].servers]
        self.cpu = [[], [], []]  # of each server, microseconds a task

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for net in self.nets:
            net.close()

    def turn(self, expected, module, function, *args, first=0):
        """Rounds of both."""
        rounds = [None, None]
        for which in (first, 1 - first):
            mine = slice(0, 1) if which == 0 else slice(1, 3)
            before = [cpu_s(p.pid) for p in self.servers[mine]]
            [rounds[which]] = self.nets[which].job(module, function, *args)
            check(rounds[which]["result"], expected, function)
            for us, p, b in zip(self.cpu[mine], self.servers[mine], before):
                us.append((cpu_s(p.pid) - b) * 1e6 / rounds[which]["executed"])
        return rounds


@case("replication_noop", "replication_noop_cpu")
def replication_noop(x):
    parts, each = 100, 5000
    flat = f"{x.build}/tests/modules/flat.so"
    one, pair, ratios = [], [], []
    with Cost(x, ["--no-collapse"]) as cost:
        cost.turn(parts * each, flat, "flats", parts, each)
        for i in range(2 * TIMES):
            rounds = cost.turn(parts * each, flat, "flats", parts, each, first=i % 2)
            a, b = (r["executed"] / r["server_s"] for r in rounds)
            one.append(a)
            pair.append(b)
            ratios.append(b / a)
        us = [median(u) for u in cost.cpu]
    v = median(pair) / median(one)
    detail = {"one": one, "pair": pair, "ratios": ratios, "cpu_us": cost.cpu,
              "note": f"no-op tasks a second, as server_noop, in turns; a pair {median(pair):,.0f}. Processor time a "
                      f"task: {us[0]:.2f} us of the one server; {us[1]:.2f} us of the primary, {us[2]:.2f} us of its "
                      f"backup. The {os.cpu_count()} processors are shared by both servers, producers and runners; "
                      "with a machine for each server its backup's part costs no throughput",
              "command": "2 x cx-taskserver --no-journal --no-collapse --sibling NAME@HOST:PORT; 2 x cx-producer "
                         f"--threads 1; job tests/modules/flat.so flats {parts} {each}"}
    yield record("replication_noop", v, "of one server's rate", "one server", median(one), v, 0.9, v >= 0.9), detail
    detail = dict(detail, note=f"{us[1]:.2f} us of the primary's processor time a task, {us[0]:.2f} us of a server without "
                               "a sibling; no bar")
    yield record("replication_noop_cpu", us[1], "us", "one server", us[0], us[0] / us[1], None, True), detail


NODES = {"T1": 4130071, "T3": 4112897}


@case("replication_uts")
def replication_uts(x):
    uts, one, pair = x.example("uts"), {}, {}
    with Cost(x) as cost:
        for tree, nodes in NODES.items():
            cost.turn(nodes, uts, "nodes", f"str:{tree}")
            one[tree], pair[tree] = [], []
            for i in range(3 * TIMES):
                rounds = cost.turn(nodes, uts, "nodes", f"str:{tree}", first=i % 2)
                one[tree].append(rounds[0]["server_s"])
                pair[tree].append(rounds[1]["server_s"])
    over = {tree: median(pair[tree]) / median(one[tree]) for tree in NODES}
    v = over["T1"]
    detail = {"one_s": one, "pair_s": pair,
              "note": "the job's time by the server's clock with a pair / with one server, in turns, medians of "
                      f"{3 * TIMES}: T1 {median(pair['T1']):.3f} s, T3 {median(pair['T3']):.3f} s of "
                      f"{median(one['T3']):.3f} s ({over['T3']:.3f}); two producers of one thread and both servers share "
                      f"{os.cpu_count()} processors",
              "command": "2 x cx-taskserver --no-journal --sibling NAME@HOST:PORT; job examples/uts.so nodes str:T1"}
    yield record("replication_uts", v, "of one server's time", "one server", median(one["T1"]), 1 / v, 1.03,
                 v <= 1.03), detail


# ---- Two pairs ----

def _executed(net):
    """By each pair's producers, so far."""
    return [sum(p["executed"] for p in net.cx("producers", at=net.address(first))) for first in (0, 2)]


@case("two_pairs_share", "two_pairs_time")
def two_pairs_share(x):
    tree, (apart, together), shares, ratios = "T3", ([], []), [], []
    uts, homes = x.example("uts"), (0, 1, 2, 3)
    with x.pairs(pairs=2, homes=homes) as spread, x.pairs(homes=(0, 0, 0, 0)) as ideal:
        for net in (spread, ideal):
            net.job(uts, "nodes", f"str:{tree}")
        for _ in range(2 * TIMES):
            before = _executed(spread)
            [a] = spread.job(uts, "nodes", f"str:{tree}")
            here, there = (now - then for now, then in zip(_executed(spread), before))
            [b] = ideal.job(uts, "nodes", f"str:{tree}")
            check((a["result"], b["result"]), (NODES[tree],) * 2, tree)
            shares.append(there / (here + there))
            apart.append(a["server_s"])
            together.append(b["server_s"])
            ratios.append(a["server_s"] / b["server_s"])
    v, t = median(shares), median(apart) / median(together)
    detail = {"shares": shares, "apart_s": apart, "together_s": together,
              "note": f"{tree} submitted to s1; a producer of one thread at each of s1, s2 (a pair), s3 and s4 (another "
                      "one): the part of the tasks that was executed at s3 and s4; bar 40 to 60 %. Single runs "
                      f"{min(shares):.2f} to {max(shares):.2f}; {os.cpu_count()} processors for all of it",
              "command": "cx-broker --servers default=s1,s2,s3,s4; 4 x cx-taskserver --no-journal; 4 x cx-producer "
                         f"--threads 1; job examples/uts.so nodes str:{tree}"}
    yield record("two_pairs_share", v, "of the tasks", "all alike", 0.5, v / 0.5, 0.4, 0.4 <= v <= 0.6), detail
    detail = dict(detail, note=f"{tree}: its time ({median(apart):.3f} s) over that of the same four producers all at s1 "
                               f"of one pair ({median(together):.3f} s, the baseline), in turns")
    yield record("two_pairs_time", t, "of the ideal", "all at one server", median(together), 1 / t, 1.1, t <= 1.1), detail
