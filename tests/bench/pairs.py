"""The cases of the replicated network: what a failure costs, what being safe from it costs."""
import os
import signal
import struct
import time

from cases import FARM, TIMES, case, check
from harness import Failed, cpu_s, end_job, median, placed, record, stop

NOBODY = "beanstalkd, gearmand"  # what dies with their server is lost, or waits for its restart


# ---- Failover ----

STEPS, STEP_US, CHAINS = 700, 2000, 2


def _times(result):
    data = bytes.fromhex(result)
    return [t / 1e9 for t in struct.unpack(f"<{len(data) // 8}q", data)]


def _went_on(times, failed_at):
    """When the chain that waited longest took its next step: the end of its longest pause after the failure."""
    ends = []
    for k in range(0, len(times), STEPS):
        chain = [t for t in times[k:k + STEPS]]
        pauses = [(b - a, b) for a, b in zip(chain, chain[1:]) if b > failed_at]
        if not pauses:
            raise Failed("the job was over before the failure")
        ends.append(max(pauses)[1])
    return max(ends)


def _stroll(net, fail, meanwhile=lambda: None):
    """Seconds from what fail() does in mid-job to the next step of each chain; fail() returns its moment."""
    job = net.start_job(FARM, "strolls", CHAINS, STEPS, STEP_US)
    net.until("the job runs", lambda: any(j["executed"] > 50 for j in net.cx("jobs") if j["state"] == "running"))
    failed_at = fail()
    meanwhile()
    r = end_job(job)
    times = _times(r["result"])
    check(len(times), CHAINS * STEPS, "steps")
    return _went_on(times, failed_at) - failed_at


def _first_said(net, server, word, after):
    return next((t - after for t, text in net.said(server) if t > after - 0.001 and word in text), None)


CHAIN_NOTE = (f"{CHAINS} chains of {STEPS} tasks of {STEP_US // 1000} ms on 2 producers of one thread, each task a grant "
              "and a commit; from the failure until the chain that waited longest takes its next step, by the "
              "times that the tasks note")
CHAIN_COMMAND = (f"cx-broker --servers default=s1,s2; 2 x cx-taskserver --no-journal --no-collapse --broker B --sibling "
                 f"NAME@HOST:PORT; 2 x cx-producer --threads 1 --server S1,S2; job build/bench/farm.so strolls "
                 f"{CHAINS} {STEPS} {STEP_US}")


@case("failover_kill")
def failover_kill(x):
    runs, primary, joined = [], [], []
    with x.pairs(options=["--no-journal", "--no-collapse"]) as net:
        for _ in range(10):
            killed = []
            runs.append(_stroll(net, lambda: killed.append(net.kill(0)) or killed[0]))
            primary.append(_first_said(net, 1, "shard s1: primary", killed[0]))
            joined.append(_first_said(net, 1, " joined:", killed[0]))
            net.start_server(0)
            net.until_whole()
    v, worst = median(runs), max(runs)
    detail = {"seconds": runs, "primary_s": primary, "joined_s": joined,
              "note": f"kill -9 of the primary, {len(runs)} times; {CHAIN_NOTE}. Median; worst {worst:.3f} s (bar 1 s). The "
                      f"sibling is primary after {median(primary):.3f} s, the first producer there after "
                      f"{median(joined):.3f} s. A job of gearmand or beanstalkd does not survive: their server has no "
                      "other one",
              "command": CHAIN_COMMAND + "; kill -9 S1"}
    yield record("failover_kill", v, "s", NOBODY, None, None, 0.5, v <= 0.5 and worst <= 1), detail


@case("failover_stop")
def failover_stop(x):
    runs, primary, joined, down = [], [], [], []
    with x.pairs(options=["--no-journal", "--no-collapse"]) as net:
        for _ in range(TIMES):
            stopped = []
            runs.append(_stroll(net, lambda: stopped.append(_signal(net, 0, signal.SIGSTOP)) or stopped[0],
                                lambda: down.append(_wake(net, 0, stopped[0]))))
            primary.append(_first_said(net, 1, "shard s1: primary", stopped[0]))
            joined.append(_first_said(net, 1, " joined:", stopped[0]))
            net.until_whole()
            faults = [text for i in (0, 1) for _, text in net.said(i) if "fault:" in text]
            check(faults, [], "faults")
    v = max(runs)
    detail = {"seconds": runs, "primary_s": primary, "joined_s": joined, "steps_down_s": down,
              "note": f"SIGSTOP of the primary, {len(runs)} times, default time-outs; {CHAIN_NOTE}. Worst; median "
                      f"{median(runs):.3f} s. The sibling is primary after {median(primary):.3f} s, the first producer "
                      f"there after {median(joined):.3f} s. On SIGCONT, while the job runs at its sibling, it steps down after "
                      f"{max(down):.3f} s at most, and becomes backup; every answer is exact",
              "command": CHAIN_COMMAND + "; kill -STOP S1"}
    yield record("failover_stop", v, "s", NOBODY, None, None, 2, v <= 2), detail


def _signal(net, i, number):
    net.servers[i].send_signal(number)
    return time.monotonic()


def _wake(net, i, stopped):
    """When all producers are at the sibling; seconds until it steps down."""
    net.until("the producers join the sibling", lambda: sum(
        t > stopped and " joined:" in text for t, text in net.said(i ^ 1)) == len(net.producers))
    woken = _signal(net, i, signal.SIGCONT)
    word = f"shard s{i + 1}: joining"
    net.until("the one who was stopped steps down", lambda: _first_said(net, i, word, woken) is not None)
    return _first_said(net, i, word, woken)


# ---- What it costs ----

NETWORKS = 3  # one after the other, where runs on one network are alike


class Cost:
    """One server and a pair, which run the same jobs in turns. apart: the backup has a processor of its own, as on a
    machine of its own, and everything else, of both networks, has the others."""

    def __init__(self, x, options=(), apart=False):
        *rest, own = sorted(os.sched_getaffinity(0))
        self.place = set(rest) if apart else None
        with placed(self.place):
            self.nets = [x.network(server_options=options),
                         x.pairs(options=["--no-journal", *options], places={1: {own}} if apart else {})]
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
            with placed(self.place):
                [rounds[which]] = self.nets[which].job(module, function, *args)
            check(rounds[which]["result"], expected, function)
            for us, p, b in zip(self.cpu[mine], self.servers[mine], before):
                us.append((cpu_s(p.pid) - b) * 1e6 / rounds[which]["executed"])
        return rounds


def _noop(x, apart):
    """(rates of one server, rates of a pair, processor time a task of each server), on several networks"""
    parts, each = 100, 5000
    flat = f"{x.build}/tests/modules/flat.so"
    one, pair, cpu = [], [], [[], [], []]
    for _ in range(NETWORKS):
        with Cost(x, ["--no-collapse"], apart) as cost:
            cost.turn(parts * each, flat, "flats", parts, each)
            for i in range(TIMES):
                rounds = cost.turn(parts * each, flat, "flats", parts, each, first=i % 2)
                a, b = (r["executed"] / r["server_s"] for r in rounds)
                one.append(a)
                pair.append(b)
            cpu = [all + new for all, new in zip(cpu, cost.cpu)]
    return one, pair, [median(us) for us in cpu]


def _noop_detail(one, pair, us, where):
    return {"one": one, "pair": pair, "cpu_us": us,
            "note": f"no-op tasks a second, as server_noop, in turns, on {NETWORKS} networks; a pair {median(pair):,.0f}. Processor time a "
                    f"task: {us[0]:.2f} us of the one server; {us[1]:.2f} us of the primary, {us[2]:.2f} us of its "
                    f"backup. {where}",
            "command": "2 x cx-taskserver --no-journal --no-collapse --sibling NAME@HOST:PORT; 2 x cx-producer "
                       "--threads 1; job tests/modules/flat.so flats 100 5000"}


@case("replication_noop")
def replication_noop(x):
    one, pair, us = _noop(x, apart=True)
    v = median(pair) / median(one)
    detail = _noop_detail(one, pair, us, "The backup has a processor of its own, as it has a machine of its own where it is "
                          "to be of use; primary, or one server, producers and runners have the other")
    yield record("replication_noop", v, "of one server's rate", "one server", median(one), v, 0.9, v >= 0.9), detail


@case("replication_noop_shared", "replication_noop_cpu")
def replication_noop_shared(x):
    one, pair, us = _noop(x, apart=False)
    v = median(pair) / median(one)
    detail = _noop_detail(one, pair, us, f"Everything shares {os.cpu_count()} processors, so that the backup's part is taken "
                          "from the producers; no bar")
    yield record("replication_noop_shared", v, "of one server's rate", "one server", median(one), v, None, True), detail
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


# ---- One failure after the other ----

class Jobs:
    """There is always one that runs."""

    def __init__(self, net, expected, *words):
        self.net, self.expected, self.words, self.done = net, expected, words, 0
        self.job = net.start_job(*words)

    def look(self):
        if self.job.poll() is not None:
            self.end()
            self.job = self.net.start_job(*self.words)

    def end(self):
        check(end_job(self.job)["result"], self.expected, "a job that outlived failures")
        self.done += 1


@case("alternating_failures")
def alternating_failures(x):
    times, survived, repairs = 20, 0, []
    with x.pairs(options=[]) as net:
        began = time.monotonic()
        jobs = Jobs(net, 4096, f"{x.build}/tests/modules/spin.so", "spin_tree", 12, 2000)
        for i in range(times):
            victim = i % 2
            jobs.look()
            killed = net.kill(victim)
            if i // 2 % 2 == 1:
                net.wipe(victim)
            net.until("the other one serves both shards", lambda: all(
                net.role(victim ^ 1, shard) in ("primary", "solo") for shard in (0, 1)))
            net.start_server(victim)
            repairs.append(net.until("both have everything again", lambda: jobs.look() or net.in_sync()) - killed)
            survived += 1
        jobs.end()
        took = time.monotonic() - began
    detail = {"repairs_s": repairs, "seconds": took, "jobs": jobs.done,
              "note": f"kill -9 of one server, then of the other, {times} times, under a running job; every other pair "
                      "of failures with the loss of the disk; each time the server is started again and the next one "
                      f"dies when both are in sync. {took:.0f} s in all, {median(repairs):.2f} s from a failure to both in "
                      f"sync (worst {max(repairs):.2f} s); jobs that ended: {jobs.done}, every answer right; no operator",
              "command": "2 x cx-taskserver --journal --sibling NAME@HOST:PORT; job tests/modules/spin.so spin_tree 12 "
                         "2000; kill -9"}
    yield record("alternating_failures", survived, "failures survived", NOBODY, None, None, times, survived >= times), detail


# ---- Two pairs ----

def _executed(net):
    """By each pair's producers, so far."""
    return [sum(p["executed"] for p in net.cx("producers", at=net.address(first))) for first in (0, 2)]


def _share_of(spread, ideal, run):
    """One job on each: (the part of its tasks that the second pair's producers executed, its time, the ideal's)."""
    before = _executed(spread)
    [a] = run(spread)
    here, there = (now - then for now, then in zip(_executed(spread), before))
    [b] = run(ideal)
    return there / (here + there), a["server_s"], b["server_s"]


@case("two_pairs_share", "two_pairs_time")
def two_pairs_share(x):
    tree, rows = "T3", []
    uts, homes = x.example("uts"), (0, 1, 2, 3)

    def run(net):
        done = net.job(uts, "nodes", f"str:{tree}")
        check(done[0]["result"], NODES[tree], tree)
        return done

    for _ in range(NETWORKS):
        with x.pairs(pairs=2, homes=homes) as spread, x.pairs(homes=(0, 0, 0, 0)) as ideal:
            _share_of(spread, ideal, run)
            rows += [_share_of(spread, ideal, run) for _ in range(2 * TIMES)]
    shares, apart, together = zip(*rows)
    v, t = median(shares), median(apart) / median(together)
    detail = {"shares": shares, "apart_s": apart, "together_s": together,
              "note": f"{tree} submitted to s1; a producer of one thread at each of s1, s2 (a pair), s3 and s4 (another "
                      f"one): the part of the tasks that was executed at s3 and s4; bar 40 to 60 %. Median of {len(rows)} "
                      f"runs on {NETWORKS} networks, one after the other; single runs {min(shares):.2f} to "
                      f"{max(shares):.2f}; {os.cpu_count()} processors for all of it",
              "command": "cx-broker --servers default=s1,s2,s3,s4; 4 x cx-taskserver --no-journal; 4 x cx-producer "
                         f"--threads 1; job examples/uts.so nodes str:{tree}"}
    yield record("two_pairs_share", v, "of the tasks", "all alike", 0.5, v / 0.5, 0.4, 0.4 <= v <= 0.6), detail
    detail = dict(detail, note=f"{tree}: its time ({median(apart):.3f} s) over that of the same four producers all at s1 "
                               f"of one pair ({median(together):.3f} s, the baseline), in turns")
    yield record("two_pairs_time", t, "of the ideal", "all at one server", median(together), 1 / t, 1.1, t <= 1.1), detail


# ---- Repair ----

@case("repair_window")
def repair_window(x):
    rows, each, load = 100, 1000, "x" * 100
    windows = []
    with x.pairs(homes=(0,), options=["--no-journal", "--no-collapse"]) as net:
        job = net.start_job(FARM, "depot", rows, each, f"str:{load}")
        net.until("all are queued", lambda: any(
            j["ready"] + j["running"] >= rows * each for j in net.cx("jobs")))
        stop(net.producers[0], kill=True)
        for _ in range(TIMES):
            net.until("both are in sync", net.in_sync)
            net.kill(1)
            net.wipe(1)
            net.until("the other one serves alone", lambda: all(net.role(0, s) == "solo" for s in (0, 1)))
            began = time.monotonic()
            net.start_server(1)
            net.until("the witness has both", lambda: _added(net, began))
            net.until("the witness has both in the in-sync sets", net.in_sync)
            windows.append(_added(net, began) - began)
            net.until_whole()
        stop(job, kill=True)
        ready = max(j["ready"] + j["running"] for j in net.cx("jobs"))
        check(ready, rows * each, "tasks queued")
    v = median(windows)
    detail = {"seconds": windows,
              "note": f"{rows * each:,} queued tasks with 100 bytes each; from the start of the sibling's process, with "
                      "nothing on its disk, until the primary has it from the witness that both are in sync; median of "
                      f"{len(windows)}, worst {max(windows):.2f} s",
              "command": f"job build/bench/farm.so depot {rows} {each} str:100-BYTES; kill -9 S2; rm -r STATE; start S2"}
    yield record("repair_window", v, "s", NOBODY, None, None, 2, v <= 2), detail


def _added(net, began):
    """When the primary, serving alone, heard that the other one counts."""
    moments = [t for t, text in net.said(0) if t > began and "shard s1: primary" in text]
    return moments[0] if moments else None
