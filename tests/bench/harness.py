"""What every benchmark needs: programs that die with this one, a CX network with choices, medians, records."""
import atexit
import calendar
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BENCH = os.path.join(ROOT, "build/bench")
TICK = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)


def median(values):
    return statistics.median(values)


class Failed(Exception):
    """A program of a benchmark did not do what it was for; the message has what it said."""


# ---- Programs ----

_children = []


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL)


def start(argv, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    p = subprocess.Popen([str(a) for a in argv], preexec_fn=_die_with_parent, **kw)
    _children.append(p)
    return p


def stop(p, kill=False):
    if p.poll() is None:
        p.kill() if kill else p.terminate()
        try:
            p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
    if p in _children:
        _children.remove(p)


@atexit.register
def _stop_all():
    for p in list(_children):
        stop(p, kill=True)


def run(argv, env=None, timeout=300):
    """The program's output; Failed when it ends badly."""
    p = start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        out, err = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stop(p, kill=True)
        raise Failed(f"{' '.join(map(str, argv))}: not done after {timeout} s") from None
    finally:
        if p in _children:
            _children.remove(p)
    if p.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv))}: exit {p.returncode}: {(err or out)[-400:]}")
    return out


def newer(target, *sources):
    return os.path.exists(target) and all(os.path.getmtime(target) >= os.path.getmtime(s) for s in sources)


def cpu_s(pid):
    """Processor time of a process so far; of its main thread's scheduler where that is all there is, to a tick."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@contextlib.contextmanager
def placed(processors):
    """What is started inside runs on these processors; None: on those that we have."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors or mine)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


RESERVED = []


def free_ports(n):
    """Ports that the kernel gives to nobody else while we run: servers of a pair know each other's before they listen."""
    for _ in range(n):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        RESERVED.append(s)
    return [s.getsockname()[1] for s in RESERVED[-n:]]


# ---- CX networks ----

class Credentials:
    """One certificate authority for the whole run."""

    def __init__(self, build):
        self.cx = os.path.join(build, "bin/cx")
        self.dir = tempfile.mkdtemp(prefix="cx-bench-")
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.issued = set()
        run([self.cx, "ca", "init", f"{self.dir}/c"])
        self.issue("server", "s")
        self.issue("consumer", "bench")

    def issue(self, role, name):
        if (role, name) not in self.issued:
            run([self.cx, "ca", "issue", f"{self.dir}/c", role, name])
            self.issued.add((role, name))


class Programs:
    """The programs of a network, with mutual TLS, as a user would start them, and its consumers. Use with `with`."""
    serial = 0

    def __init__(self, credentials, build, threads=1):
        Programs.serial += 1
        self.credentials, self.build = credentials, build
        self.dir = f"{credentials.dir}/n{Programs.serial}"
        os.mkdir(self.dir)
        self.threads, self.children, self.producers = threads, [], []

    def start(self, name, program, *options):
        """The process and its port. What it says is added to NAME.log."""
        r, w = os.pipe()
        with open(f"{self.dir}/{name}.log", "a") as log:
            p = start([f"{self.build}/bin/{program}", "--credentials", f"{self.credentials.dir}/c", *options,
                       "--ready-fd", w], stdout=log, stderr=log, pass_fds=[w])
        os.close(w)
        self.children.insert(0, p)
        with os.fdopen(r) as f:
            line = f.readline().split()
        if len(line) != 2:
            raise Failed(f"{program} did not start: " + open(f"{self.dir}/{name}.log").read()[-400:])
        return p, int(line[1])

    def add_producer(self, serve_at):
        name = f"p{len(self.producers) + 1}"
        self.credentials.issue("producer", name)
        p, _ = self.start(name, "cx-producer", "--name", name, "--server", serve_at,
                          "--threads", self.threads, "--cache", f"{self.dir}/cache-{name}")
        self.producers.append(p)

    def address(self):
        """Where consumers find it."""
        raise NotImplementedError

    def env(self, address=None):
        return dict(os.environ, CX_NETWORK=address or self.address(), CX_CREDENTIALS=f"{self.credentials.dir}/c")

    def cx(self, *words, at=None):
        return json.loads(run([f"{self.build}/bin/cx", *words, "--json"], env=self.env(at)))

    def wait_for(self, producers, at=None):
        until = time.monotonic() + 60
        while len(self.cx("producers", at=at)) != producers:
            if time.monotonic() > until:
                raise Failed(f"{producers} producers did not come")
            time.sleep(0.05)

    def job(self, module, function, *args, rounds=1, warm=0, first=None, input_file=None):
        """One dictionary for each round: seconds, server_s, executed, result. first: the first argument while warming."""
        argv = [f"{self.build}/tests/bench/job", "-r", rounds, "-w", warm]
        if first is not None:
            argv += ["-f", first]
        if input_file:
            argv += ["-i", input_file]
        out = run([*argv, module, function, *args], env=self.env())
        return [json.loads(line) for line in out.splitlines()]

    def start_job(self, module, function, *args):
        """To be ended by end_job()."""
        argv = [f"{self.build}/tests/bench/job", "-w", "0", module, function, *args]
        return start(argv, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def close(self):
        for p in self.children:
            if p.poll() is None:
                p.terminate()
        for p in self.children:
            stop(p)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def end_job(p, timeout=120):
    """Like an element of job()."""
    try:
        out, err = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stop(p, kill=True)
        raise Failed(f"a job is not done after {timeout} s") from None
    stop(p)
    if p.returncode != 0:
        raise Failed(f"a job ended badly: {err[-400:]}")
    return json.loads(out)


class Network(Programs):
    """A task server and producers."""

    def __init__(self, credentials, build, producers=2, threads=1, server_options=(), relay_ms=None):
        super().__init__(credentials, build, threads)
        self.server, self.port = self.start(
            "server", "cx-taskserver", "--name", "s", "--listen", "127.0.0.1:0", "--no-journal", "--state",
            f"{self.dir}/state", *server_options)
        self.serve_at = self.port
        if relay_ms is not None:
            relay = start([f"{build}/tests/bench/relay", self.port, relay_ms], stdout=subprocess.PIPE, text=True)
            self.children.append(relay)
            self.serve_at = int(relay.stdout.readline().split()[1])
        for _ in range(producers):
            self.add_producer(f"127.0.0.1:{self.serve_at}")
        self.wait_for(producers)

    def address(self):
        return f"127.0.0.1:{self.port}"


class Pairs(Programs):
    """A broker, and servers s1 and s2, s3 and s4 ... that are siblings. A producer serves the pair of one of them,
    and its shard as long as it can: servers[i] is of the i-th server, and producers[i] is started for homes[i]."""

    def __init__(self, credentials, build, pairs=1, homes=(0, 0), threads=1, options=("--no-journal",), places={}):
        """places: server -> the processors it has, where they are not those of all."""
        super().__init__(credentials, build, threads)
        self.places = places
        names = [f"s{i + 1}" for i in range(2 * pairs)]
        for name in names:
            credentials.issue("server", name)
        credentials.issue("broker", "b")
        self.options = options
        self.ports = free_ports(2 * pairs)
        self.broker, port = self.start("broker", "cx-broker", "--name", "b", "--listen", "127.0.0.1:0", "--store",
                                       f"{self.dir}/broker.db", "--servers", f"default={','.join(names)}")
        self.broker_at = f"127.0.0.1:{port}"
        self.servers, self.spoken = [None] * len(names), [0] * len(names)
        for i in range(len(names)):
            self.start_server(i)
        self.until_whole()
        for home in homes:
            self.add_producer(self.address(home))
        for pair in range(pairs):
            self.wait_for(sum(home // 2 == pair for home in homes), at=self.address(2 * pair))

    def address(self, server=0):
        return f"127.0.0.1:{self.ports[server]},127.0.0.1:{self.ports[server ^ 1]}"

    def log_path(self, server):
        return f"{self.dir}/s{server + 1}.log"

    def start_server(self, i):
        if os.path.exists(self.log_path(i)):
            self.spoken[i] = os.path.getsize(self.log_path(i))
        with placed(self.places.get(i)):
            self.servers[i], _ = self.start(
                f"s{i + 1}", "cx-taskserver", "--name", f"s{i + 1}", "--listen", f"127.0.0.1:{self.ports[i]}",
                "--state", f"{self.dir}/state{i + 1}", "--broker", self.broker_at,
                "--sibling", f"s{(i ^ 1) + 1}@127.0.0.1:{self.ports[i ^ 1]}", *self.options)

    def kill(self, i):
        """The moment."""
        now = time.monotonic()
        self.servers[i].kill()
        self.servers[i].wait()
        self.children.remove(self.servers[i])
        stop(self.servers[i])
        return now

    def wipe(self, i):
        shutil.rmtree(f"{self.dir}/state{i + 1}")

    def said(self, i):
        """Lines of its log, of its present life: (moment on time.monotonic()'s clock to a millisecond, text)."""
        ahead = time.time() - time.monotonic()
        with open(self.log_path(i)) as f:
            f.seek(self.spoken[i])
            lines = [line.rstrip("\n").split(" ", 1) for line in f if line.endswith("\n")]
        return [(calendar.timegm(time.strptime(t[:19], "%Y-%m-%dT%H:%M:%S")) + float(t[19:23]) - ahead, text)
                for t, text in lines]

    def shards(self):
        """shard -> what `cx server status` knows of it."""
        try:
            return {s["shard"]: s for s in self.cx("server", "status")["shards"]}
        except Failed:
            return {}

    def until(self, what, condition, limit=30):
        """The moment at which it was found to be so."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                raise Failed(f"{what}: not within {limit} s; " + json.dumps(self.shards())[:2000])
            time.sleep(0.01)
        return time.monotonic()

    def role(self, server, shard):
        """What it last said it is for the shard."""
        role = "joining"
        for _, text in self.said(server):
            found = re.search(rf"shard s{shard + 1}: ([a-z ]+), epoch", text)
            role = found.group(1) if found else role
        return role

    def until_whole(self):
        """Each serves its own shard, and its sibling is in sync with it."""
        every = range(len(self.servers))
        self.until("the pair is whole", lambda: all(
            self.role(i, i) == "primary" and self.role(i ^ 1, i) == "backup" for i in every))

    def in_sync(self, pair=0):
        """Each of the pair's shards is served, the other server has all of it, and the witness knows both."""
        names = [f"s{2 * pair + k}" for k in (1, 2)]
        found = self.shards()
        rows = [r for name in names for r in found.get(name, {"replicas": []})["replicas"]]
        primaries = [r for r in rows if r["serves"] and sorted(r["in_sync"]) == names]
        return len(primaries) == 2 and sum(r["role"] == "backup" for r in rows) == 2


# ---- Records ----

KEYS = ("bench", "value", "unit", "baseline", "baseline_value", "ratio", "bar", "met")


def rounded(x):
    return float(f"{x:.5g}") if isinstance(x, float) else x


class Records:
    """build/bench.jsonl, one line a case; what else is worth keeping of a case lies in build/bench/CASE.json."""

    def __init__(self, path):
        self.path = path
        self.lines = {}
        if os.path.exists(path):
            with open(path) as f:
                for line in f:
                    record = json.loads(line)
                    self.lines[record["bench"]] = record

    def add(self, record, detail):
        record = {k: rounded(record[k]) for k in KEYS}
        self.lines[record["bench"]] = record
        print(json.dumps(record, separators=(",", ":")), flush=True)
        os.makedirs(BENCH, exist_ok=True)
        with open(f"{BENCH}/{record['bench']}.json", "w") as f:
            json.dump(detail, f, indent=1)
        with open(self.path, "w") as f:
            for r in self.lines.values():
                f.write(json.dumps(r, separators=(",", ":")) + "\n")


def record(bench, value, unit, baseline, baseline_value, ratio, bar, met):
    return dict(zip(KEYS, (bench, value, unit, baseline, baseline_value, ratio, bar, bool(met))))
