"""The cases of `make bench`: each is a generator of (record, detail). CX and its peers run in turns."""
import csv
import glob
import heapq
import json
import math
import os
import struct
import time

import peers
from harness import (BENCH, ROOT, Failed, Network, Pairs, cpu_s, end_job, median, newer, record, rss_bytes, run, start, stop)

TIMES = 5
FARM = f"{BENCH}/farm.so"
CASES = {}


def build_module():
    """The benchmarks' own module, as a user would build it."""
    module = f"{ROOT}/tests/bench/modules/farm.c"
    os.makedirs(BENCH, exist_ok=True)
    if not newer(FARM, module, f"{ROOT}/examples/synthetic/load.h", f"{ROOT}/include/cx/task.h"):
        run(["cc", "-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", f"-I{ROOT}/include", f"-I{ROOT}",
             module, "-o", FARM])


class Context:
    """What the cases share: where the programs are, the certificates, the length of a round of load_spin()."""

    def __init__(self, build, credentials):
        self.build, self.credentials = build, credentials
        self._round_s = None

    def network(self, **kw):
        return Network(self.credentials, self.build, **kw)

    def pairs(self, **kw):
        return Pairs(self.credentials, self.build, **kw)

    def bench(self, program):
        return f"{self.build}/tests/bench/{program}"

    def example(self, name):
        return f"{self.build}/examples/{name}.so"

    def sequential(self, kind, n, rounds):
        """Seconds of the clock and of the processor."""
        return [float(t) for t in run([self.bench("load_seq"), kind, n, rounds]).split()]

    def pair(self, n=50_000_000):
        """Two sequential programs side by side, n rounds each: clock and processor time of a round, the means."""
        both = [start([self.bench("load_seq"), "loop", 1, n], stdout=-1, text=True) for _ in range(2)]
        times = [[float(t) / n for t in p.communicate()[0].split()] for p in both]
        for p in both:
            stop(p)
        return [sum(t) / 2 for t in zip(*times)]

    def round_s(self):
        """Processor time of a round while the other processor is busy too: what two workers can do at best."""
        if self._round_s is None:
            self._round_s = median([self.pair()[1] for _ in range(TIMES)])
        return self._round_s

    def rounds(self, seconds):
        return max(1, round(seconds / self.round_s()))


def case(*names):
    def add(function):
        for name in names:
            CASES[name] = function
        function.names = names
        return function
    return add


def check(value, expected, what):
    if value != expected:
        raise Failed(f"{what}: {value} is not {expected}")


# ---- Tasks without a network ----

@case("collapsed_task")
def collapsed_task(x):
    cx, tbb, omp = [], [], []
    for _ in range(TIMES):
        cx.append(float(run([x.bench("collapsed_task"), 30]).split(" ns a task")[0].split()[-1]))
        tbb.append(peers.fib("tbb", 30))
        omp.append(peers.fib("omp", 30))
    v, t, o = median(cx), median(tbb), median(omp)
    met = v <= 10 and t >= 5 * v and o >= 5 * v
    detail = {"cx_ns": cx, "tbb_ns": tbb, "openmp_ns": omp,
              "note": f"fib(30) as tasks all the way down, one thread, each run the best of 7; OpenMP {o:.1f} ns "
                      f"({o / v:.1f} x)",
              "command": "build/release/tests/bench/collapsed_task 30; build/bench/fib_tbb 30 1; "
                         "build/bench/fib_omp 30 1"}
    yield record("collapsed_task", v, "ns/task", "oneTBB task_group", t, t / v, 10, met), detail


# ---- Through the server ----

@case("server_noop", "server_noop_cpu")
def server_noop(x):
    parts, each, theirs = 100, 5000, 10000
    rates, cpu_rates, peer, peer_cpu, beans, mpi = [], [], [], [], [], []
    with x.network(server_options=["--no-collapse"]) as net, peers.Gearmand() as g, peers.Beanstalkd() as b:
        flat = f"{x.build}/tests/modules/flat.so"
        net.job(flat, "flats", parts, each)
        g.rate(1000, 0)
        for _ in range(TIMES):
            before = cpu_s(net.server.pid)
            [r] = net.job(flat, "flats", parts, each)
            used = cpu_s(net.server.pid) - before
            check(r["result"], parts * each, "flats")
            rates.append(r["executed"] / r["server_s"])
            cpu_rates.append(r["executed"] / used)
            before = cpu_s(g.server.pid)
            peer.append(g.rate(theirs, 0))
            peer_cpu.append((theirs + 100) / (cpu_s(g.server.pid) - before))
            beans.append(b.rate(theirs, 0))
            mpi += peers.mpi((200000, 0))
    v, b, c, d = median(rates), median(peer), median(cpu_rates), median(peer_cpu)
    command = ("cx-taskserver --no-collapse --no-journal; 2 x cx-producer --threads 1; "
               f"job tests/modules/flat.so flats {parts} {each}; gearman_client PORT {theirs} 0")
    detail = {"cx": rates, "gearmand": peer, "cx_cpu": cpu_rates, "gearmand_cpu": peer_cpu, "beanstalkd": beans,
              "mpi": mpi, "command": command,
              "note": "tasks executed / time of the job by the server's clock, submit to end; mutual TLS on, "
                      "gearmand "
                      f"in the clear; beanstalkd {median(beans):,.0f}, Open MPI in shared memory "
                      f"{median(mpi):,.0f}"}
    yield record("server_noop", v, "tasks/s", "gearmand", b, v / b, 500000, v >= 500000 and v >= 20 * b), detail
    detail = dict(detail, note=f"{1e6 / c:.2f} us of the server's processor time a task, gearmand {1e6 / d:.1f} us")
    bar = rounded_bar(20 * d)
    yield record("server_noop_cpu", c, "tasks/CPU-s", "gearmand", d, c / d, bar, c >= bar), detail


def rounded_bar(v):
    return float(f"{v:.4g}")


def _gaps_us(text):
    data = bytes.fromhex(text)
    times = struct.unpack(f"<{len(data) // 8}q", data)
    return sorted((b - a) / 1e3 for a, b in zip(times, times[1:]))


@case("round_trip", "round_trip_job")
def round_trip(x):
    links = 1000
    p50, p99, jobs, warm_jobs, g50, b50, m50 = [], [], [], [], [], [], []
    with x.network(producers=1, server_options=["--no-collapse"]) as net, peers.Gearmand(1) as g, \
            peers.Beanstalkd(1) as b:
        for _ in range(TIMES):
            [r] = net.job(FARM, "trip", links, warm=1)
            gaps = _gaps_us(r["result"])
            check(len(gaps), links - 1, "trip")
            p50.append(median(gaps))
            p99.append(gaps[len(gaps) * 99 // 100])
            jobs.append(median([r["seconds"] for r in net.job(FARM, "leaf", 0, rounds=200, warm=5)]) * 1e6)
            g50.append(g.trip_us(500))
            b50.append(b.trip_us(500))
            m50.append(peers.mpi((1, 0))[0])
    v, j, gv, bv, mv = median(p50), median(jobs), median(g50), median(b50), median(m50)
    others = f"beanstalkd {bv:.0f} us, Open MPI in shared memory {mv:.1f} us"
    detail = {"p50_us": p50, "p99_us": p99, "job_us": jobs, "gearmand_us": g50, "beanstalkd_us": b50, "mpi_us": m50,
              "note": "server, producer, runner and back: p50 of the time from one task to the next in a "
                      f"chain of {links} "
                      f"that each spawn the next, every one a grant and a commit; p99 {median(p99):.0f} us. "
                      "gearmand: "
                      f"client, server, worker and back. {others}",
              "command": "cx-taskserver --no-collapse; cx-producer --threads 1; job build/bench/farm.so trip "
                         f"{links}; "
                         "gearman_client PORT 1 0 500"}
    yield record("round_trip", v, "us", "gearmand", gv, gv / v, 150, v <= 150), detail
    detail = dict(detail, note="a whole job of one no-op task, consumer to result, over a warm connection: "
                               "submit, grant, "
                               "a runner of its own for the job, commit, result; no bar", p50_us=jobs,
                  command="job -r 200 -w 5 build/bench/farm.so leaf 0")
    yield record("round_trip_job", j, "us", "gearmand", gv, gv / j, None, True), detail


# ---- METG: the shortest task at which half of the time is work ----

GRAINS = [m * 10.0 ** e for e in range(-8, -1) for m in (1, 3)] + [0.01]
SYSTEMS = {  # name: the shortest task worth trying, seconds
    "CX collapsed": 1e-8, "oneTBB": 1e-8, "OpenMP": 3e-8, "Open MPI": 3e-7, "CX through the server": 3e-7,
    "beanstalkd": 1e-5, "gearmand": 1e-5,
}
LONGEST = 0.01
AT_LEAST_S = 0.12  # of work in each measurement


def _count(grain, floor):
    """How many tasks of this length make a measurement long enough, when none costs less than floor seconds."""
    return max(20, int(2 * AT_LEAST_S / max(grain, floor)))


def _grid(n):
    rows = max(1, min(1000, n // 500))
    return rows, -(-n // rows)


def metg_of(points):
    """Where efficiency first reaches one half, between two lengths on the log axis; points: [(seconds, efficiency)]."""
    points = sorted(points)
    above = [i for i, p in enumerate(points) if p[1] >= 0.5]
    if not above or above[0] == 0:
        return points[0][0] if above else float("inf")
    lo, hi = points[above[0] - 1], points[above[0]]
    part = (0.5 - lo[1]) / (hi[1] - lo[1])
    return math.exp(math.log(lo[0]) + part * (math.log(hi[0]) - math.log(lo[0])))


def _farm_cx(net, floor, x):
    def rate(grain):
        rows, n = _grid(_count(grain, floor))
        [r] = net.job(FARM, "grid", rows, n, x.rounds(grain))
        check(r["result"], rows * n, "grid")
        return rows * n / r["server_s"]
    return lambda grains: [rate(g) for g in grains]


def _sweep(x, measure):
    """For each system the median efficiencies; measure: {name: lengths -> tasks a second}. Before each turn two
    sequential programs show what part of the two processors is to be had: all, unless others use the machine."""
    found, capacity = {name: {} for name in measure}, []
    for _ in range(TIMES):
        for name, rates in measure.items():
            grains = [g for g in GRAINS if SYSTEMS[name] * 0.99 <= g <= LONGEST]
            clock, cpu = x.pair()
            capacity.append(cpu / clock)
            for g, rate in zip(grains, rates(grains)):
                exact = x.rounds(g) * x.round_s()
                found[name].setdefault(exact, []).append(rate * exact / 2 / capacity[-1])
    return {name: [(g, median(e)) for g, e in sorted(by.items())] for name, by in found.items()}, median(capacity)


@case("metg_server", "metg_collapsed")
def metg(x):
    def pairs(floor):
        return lambda grains: [v for g in grains for v in (_count(g, floor), x.rounds(g))]

    def one_by_one(queue, floor):
        return lambda grains: [queue.rate(_count(g, floor), x.rounds(g)) for g in grains]

    x.round_s()
    with x.network(server_options=["--no-collapse"]) as plain, x.network() as collapsing, peers.Gearmand() as g, \
            peers.Beanstalkd() as b:
        measure = {
            "CX collapsed": _farm_cx(collapsing, 3e-8, x),
            "CX through the server": _farm_cx(plain, 2e-6, x),
            "oneTBB": lambda gs: peers.tbb(*zip(*[iter(pairs(5e-8)(gs))] * 2)),
            "OpenMP": lambda gs: peers.openmp(*zip(*[iter(pairs(5e-7)(gs))] * 2)),
            "Open MPI": lambda gs: peers.mpi(*zip(*[iter(pairs(3e-6)(gs))] * 2)),
            "beanstalkd": one_by_one(b, 1e-4),
            "gearmand": one_by_one(g, 1e-4),
        }
        plain.job(FARM, "grid", 10, 1000, 1)
        collapsing.job(FARM, "grid", 10, 1000, 1)
        curves, capacity = _sweep(x, measure)
    found = {name: metg_of(points) * 1e6 for name, points in curves.items()}
    if not all(v < 1 for v in (found["CX collapsed"] / 1e6, found["CX through the server"] / 1e6)):
        raise Failed(f"CX reached an efficiency of one half at no length; the machine has {capacity:.2f} to spare")
    detail = {"curves": curves, "metg_us": found, "capacity": capacity,
              "note": "two workers, tasks that depend on nothing; length of the task's own work at which work "
                      "/ (time x 2) is "
                      "one half, between two points of the sweep on the log axis (Task Bench's own figure "
                      "counts the "
                      "overhead into the length and is twice that); "
                      + ", ".join(f"{n} {v:.3g} us" for n, v in sorted(found.items(), key=lambda p: p[1])),
              "command": "job build/bench/farm.so grid ROWS N ROUNDS; gearman_client PORT N ROUNDS; beanstalk "
                         "client PORT N "
                         "ROUNDS; mpirun -n 3 mpi_farm N ROUNDS; farm_tbb 2 N ROUNDS; farm_omp 2 N ROUNDS"}
    v, m = found["CX through the server"], found["Open MPI"]
    yield record("metg_server", v, "us", "Open MPI farm", m, m / v, 4, v <= 4), detail
    v, t = found["CX collapsed"], found["oneTBB"]
    yield record("metg_collapsed", v, "us", "oneTBB", t, t / v, 0.05, v <= 0.05), detail


# ---- The CX table: T_SEQ / T_1 ----

TABLE = {"cx_table_100us": (1e-4, 18, 0.95), "cx_table_1ms": (1e-3, 14, 0.99), "cx_table_10ms": (1e-2, 10, 0.995)}


def _fib(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


@case(*TABLE)
def cx_table(x, only=None):
    round_s = median([x.sequential("loop", 1, 50_000_000)[1] / 50_000_000 for _ in range(TIMES)])
    with x.network(producers=1) as net:
        for name, (length, n, bar) in TABLE.items():
            if only and name not in only:
                continue
            rounds, ratios, seq, one = round(length / round_s), [], [], []
            module = x.example("synthetic")
            net.job(module, "spin", 5, 1000)
            for _ in range(TIMES):
                before = x.sequential("fib", n, rounds)[0]
                [r] = net.job(module, "spin", n, rounds, warm=1, first=1)
                check(r["result"], _fib(n), "spin")
                after = x.sequential("fib", n, rounds)[0]
                seq.append((before + after) / 2)
                one.append(r["seconds"])
                ratios.append(seq[-1] / one[-1])
            v = median(ratios)
            detail = {"t_seq_s": seq, "t_1_s": one, "ratios": ratios,
                      "note": f"F({n}), {2 * _fib(n + 1) - 1:,} tasks of {length * 1e6:g} us; T_1 from submit "
                              "to result as "
                              f"the consumer sees it, over a warm connection; baseline: T_SEQ in seconds, before and after each run",
                      "command": f"load_seq fib {n} {rounds}; job -f 1 examples/synthetic.so spin {n} {rounds}"}
            yield record(name, v, "T_SEQ/T_1", "sequential C", median(seq), v, bar, v >= bar), detail


# ---- Unbalanced tree search ----

@case("uts_t1", "uts_t3")
def uts(x, only=None):
    with x.network() as net:
        for tree in ("T1", "T3"):
            name = f"uts_{tree.lower()}"
            if only and name not in only:
                continue
            seq, par, whole, ratios, both = [], [], [], [], []
            net.job(x.example("uts"), "nodes", f"str:{tree}")
            for _ in range(2 * TIMES):
                s = json.loads(run([x.bench("uts_seq"), tree]))
                [r] = net.job(x.example("uts"), "nodes", f"str:{tree}")
                check(r["result"], s["nodes"], tree)
                seq.append(s["seconds"])
                par.append(r["server_s"])
                whole.append(r["seconds"])
                ratios.append(s["seconds"] / r["server_s"])
                pair = [start([x.bench("uts_seq"), tree], stdout=-1, text=True) for _ in range(2)]
                took = max(json.loads(p.communicate()[0])["seconds"] for p in pair)
                for p in pair:
                    stop(p)
                both.append(2 * s["seconds"] / took)
            v = median(ratios)
            detail = {"ceilings": both, "seq_s": seq, "cx_s": par, "consumer_s": whole, "ratios": ratios,
                      "note": "sequential time / the job's time by the server's clock, submit to end, two "
                              "producers of one "
                              f"thread; baseline: seconds of the sequential program. Counting from the consumer: "
                              f"{median(seq) / median(whole):.2f}. The tree is small ({median(seq):.2f} s); two sequential "
                              f"programs side by side do {median(both):.2f} times the work of one here: that is the ceiling",
                      "command": f"uts_seq {tree}; job examples/uts.so nodes str:{tree}"}
            yield record(name, v, "speed-up", "sequential C", median(seq), v, 1.8, v >= 1.8), detail


# ---- A million tasks that wait ----

def _queue_of_cx(x, n):
    with x.network(producers=1, server_options=["--no-collapse", "--memory", "4G"]) as net:
        before, memory = rss_bytes(net.server.pid), net.cx("status")["memory"]
        argv = [f"{x.build}/bin/cx", "submit", FARM, "hall", 100, n // 100]
        run(argv, env=net.env())
        until = time.monotonic() + 60
        while net.cx("status")["ready"] < n - 10 and time.monotonic() < until:
            time.sleep(0.1)
        stop(net.producers[0], kill=True)
        time.sleep(1.0)
        status = net.cx("status")
        if status["ready"] < n - 10:
            raise Failed(f"only {status['ready']} tasks are queued")
        cpu = cpu_s(net.server.pid)
        time.sleep(2.0)
        return {"rss": (rss_bytes(net.server.pid) - before) / n, "memory": (status["memory"] - memory) / n,
                "idle": (cpu_s(net.server.pid) - cpu) / 2}


def _queue_of(peer, n):
    with peer(0) as q:
        before = rss_bytes(q.server.pid)
        q.fill(n)
        return (rss_bytes(q.server.pid) - before) / n


@case("queued_task_bytes")
def queued_task_bytes(x):
    n, theirs = 1_000_000, 50_000
    cx, b, g = [], [], []
    for _ in range(TIMES):
        cx.append(_queue_of_cx(x, n))
        b.append(_queue_of(peers.Beanstalkd, theirs))
        g.append(_queue_of(peers.Gearmand, theirs))
    rss, memory, idle = (median([c[k] for c in cx]) for k in ("rss", "memory", "idle"))
    v, base = max(rss, memory), median(b)
    detail = {"cx": cx, "beanstalkd": b, "gearmand": g,
              "note": f"growth of the server's resident memory with {n:,} ready tasks without arguments, and "
                      "their join, the "
                      f"producer gone; by the server's own account {memory:.0f} bytes; idle they cost "
                      f"{100 * idle:.1f} % of a "
                      f"processor; gearmand {median(g):.0f} bytes",
              "command": f"cx submit build/bench/farm.so hall 100 {n // 100}; beanstalk fill PORT {theirs}; "
                         "gearman_client PORT "
                         f"{theirs} fill"}
    yield record("queued_task_bytes", v, "bytes", "beanstalkd", base, base / v, 200, v <= 200 and idle <= 0.01), detail


# ---- A long way ----

@case("replica_record")
def replica_record(x):
    cost = []
    for _ in range(TIMES):
        out = run([x.bench("replica_core"), 3_000_000])
        cost.append([float(line.split(" ns a record")[0].split()[-1]) for line in out.splitlines()])
    v, b = (median([c[i] for c in cost]) for i in (0, 1))
    detail = {"primary_backup_ns": cost,
              "note": "what keeping a sibling costs the primary's core, a log record of 70 bytes, 64 a turn: copied "
                      "into the tail, into the message, into the stream's buffer, acknowledged; a no-op task is one "
                      f"record. The backup's core: {b:.1f} ns",
              "command": "replica_core 3000000"}
    yield record("replica_record", v, "ns/record", "bar", 60, 60 / v, 60, v <= 60), detail


@case("sim_seeds")
def sim_seeds(x):
    programs, seeds = ("cx-sim", "pair-sim"), 3000
    rates = {p: [] for p in programs}
    for _ in range(TIMES):
        for p in programs:
            out = run([f"{x.build}/tests/sim/{p}", 1, seeds])
            rates[p].append(float(out.split(" a second of processor time")[0].split()[-1]))
    v = min(median(r) for r in rates.values())
    detail = {"seeds_per_cpu_s": rates,
              "note": "the slower of the two simulators, the one of a single server and the one of a pair, each "
                      "median of 5; " + ", ".join(f"{p} {median(r):,.0f}" for p, r in rates.items()),
              "command": f"cx-sim 1 {seeds}; pair-sim 1 {seeds}"}
    yield record("sim_seeds", v, "seeds/CPU-s", "bar", 500, v / 500, 500, v >= 500), detail


@case("wan_50ms")
def wan_50ms(x):
    n, us, threads = 8000, 10000, 4
    near, far, ratios = [], [], []
    with x.network(threads=threads) as here, x.network(threads=threads, relay_ms=50) as there:
        here.job(FARM, "naps", 8, 1000)
        there.job(FARM, "naps", 8, 1000)
        for _ in range(TIMES):
            jobs = [net.start_job(FARM, "naps", n, us) for net in (here, there)]
            a, b = (end_job(j) for j in jobs)
            check((a["result"], b["result"]), (n, n), "naps")
            a, b = a["seconds"], b["seconds"]
            near.append(n / a)
            far.append(n / b)
            ratios.append(a / b)
    v = median(ratios)
    detail = {"near": near, "far": far, "ratios": ratios,
              "note": f"{n:,} tasks that sleep 10 ms, 2 producers of {threads} threads; one network with a "
                      "relay that delays "
                      "each byte by 50 ms each way between producers and server, one without, at the same "
                      "time; whole job, "
                      f"start and end included; baseline: tasks/s without",
              "command": f"relay PORT 50; job build/bench/farm.so naps {n} {us}"}
    yield record("wan_50ms", v, "of the speed without", "no delay", median(near), v, 0.95, v >= 0.95), detail


# ---- Sixty producers ----

def best_schedule(n, workers):
    """Slots of the best schedule of F(n)'s tasks of length one: Hu's algorithm (1961), optimal for such trees."""
    ready, slots = [-n], 0
    while ready:
        running = [-heapq.heappop(ready) for _ in range(min(workers, len(ready)))]
        slots += 1
        for k in running:
            if k >= 2:
                heapq.heappush(ready, -(k - 1))
                heapq.heappush(ready, -(k - 2))
    return slots


@case("f18_60_producers")
def f18_60_producers(x):
    n, us, workers, small = 18, 10000, 60, 11
    calls, few = 2 * _fib(n + 1) - 1, 2 * _fib(small + 1) - 1
    module = x.example("synthetic")
    efficiencies, t60, t1 = [], [], []
    with x.network(producers=1) as one, x.network(producers=workers) as many:
        many.job(module, "doze", 12, 1000)
        one.job(module, "doze", 3, 1000)
        for _ in range(TIMES):
            [r] = one.job(module, "doze", small, us)
            t1.append(r["seconds"] / few * calls)
            [r] = many.job(module, "doze", n, us)
            check(r["result"], _fib(n), "doze")
            t60.append(r["seconds"])
            efficiencies.append(t1[-1] / workers / t60[-1])
    v = median(efficiencies)
    ceiling = calls / workers / best_schedule(n, workers)
    detail = {"efficiencies": efficiencies, "t1_s": t1, "t60_s": t60, "ceiling": ceiling,
              "note": f"T_1 / (60 T_60), T_1 = time of F({small}) on one producer x {calls:,} / {few:,} tasks "
                      "(s, the "
                      f"baseline). The best schedule there is for this tree on 60 has {ceiling:.3f}, for its "
                      "root runs "
                      f"alone and its levels only double; CX reaches {v / ceiling:.3f} of that",
              "command": f"60 x cx-producer --threads 1; job examples/synthetic.so doze {n} {us}"}
    yield record("f18_60_producers", v, "T_1/(60 T_60)", "one producer", median(t1), v, 0.97, v >= 0.97), detail


# ---- Task graphs ----

PLAYERS = 4


def graphs():
    """name -> (file, digest, the published optimum or else the lower bound, Graham's bound), for PLAYERS processors."""
    data, found = f"{ROOT}/examples/dag/data", {}
    for kind in ("stg", "wf"):
        with open(f"{data}/{kind}_expected.csv") as f:
            rows = {r["name"]: r for r in csv.DictReader(f)}
        for path in sorted(glob.glob(f"{data}/{kind}_*.dag")):
            name = os.path.basename(path)[len(kind) + 1:-4]
            if name in rows:
                r = rows[name]
                best = float(r.get(f"opt{PLAYERS}") or r[f"lb{PLAYERS}"])
                found[f"{kind}_{name}"] = (path, r["digest"], best, float(r[f"graham{PLAYERS}"]))
    return found


@case("makespan")
def makespan(x, only=None):
    with x.network(producers=PLAYERS) as net:
        for name, (path, digest, best, graham) in graphs().items():
            bench = f"makespan_{name}"
            if only and "makespan" not in only and bench not in only:
                continue
            scale, took = max(1, round(500_000 / best)), []
            expected = struct.unpack("<q", struct.pack("<Q", int(digest, 16)))[0]
            awake = []
            for _ in range(TIMES):
                [r] = net.job(x.example("dag"), "play", scale, input_file=path)
                check(r["result"], expected, name)
                took.append(r["server_s"])
                awake.append(net.job(x.example("dag"), "play", 0, input_file=path)[0]["server_s"])
            unit_s = scale / 1e6
            v = median(took) / (best * unit_s)
            published = name.startswith("stg")
            optimum = "published optimum" if published else "lower bound"
            bar = rounded_bar((graham * unit_s + median(awake)) / (best * unit_s))
            bar = min(bar, 1.25) if published else bar
            detail = {"seconds": took, "best_s": best * unit_s, "graham_s": graham * unit_s,
                      "note": f"{PLAYERS} producers of one thread, {scale:,} us a unit; {median(took):.3f} s, "
                              f"{optimum} "
                              f"{best * unit_s:.3f} s (the baseline), Graham's bound {graham * unit_s:.3f} s, "
                              "without sleeping "
                              f"{median(awake):.3f} s",
                      "command": f"job -i {os.path.relpath(path, ROOT)} examples/dag.so play {scale}"}
            yield record(bench, v, "of the best", optimum, best * unit_s, v, bar, v <= bar), detail
