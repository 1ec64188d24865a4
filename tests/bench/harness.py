"""What every benchmark needs: programs that die with this one, a CX network with choices, medians, records."""
import atexit
import ctypes
import json
import os
import shutil
import signal
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


def cpu_s(pid):
    """Processor time of a process so far; of its main thread's scheduler where that is all there is, to a tick."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- A CX network ----

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


class Network:
    """A task server and producers, with mutual TLS, as a user would start them. Use with `with`."""
    serial = 0

    def __init__(self, credentials, build, producers=2, threads=1, server_options=(), relay_ms=None):
        Network.serial += 1
        self.credentials, self.build = credentials, build
        self.dir = f"{credentials.dir}/n{Network.serial}"
        os.mkdir(self.dir)
        self.threads, self.children, self.producers = threads, [], []
        self.server, self.port = self._start(
            "server", "cx-taskserver", "--name", "s", "--listen", "127.0.0.1:0", "--no-journal", "--state",
            f"{self.dir}/state", *server_options)
        self.serve_at = self.port
        if relay_ms is not None:
            relay = start([f"{build}/tests/bench/relay", self.port, relay_ms], stdout=subprocess.PIPE, text=True)
            self.children.append(relay)
            self.serve_at = int(relay.stdout.readline().split()[1])
        for _ in range(producers):
            self.add_producer()
        self.wait_for(producers)

    def _start(self, name, program, *options):
        r, w = os.pipe()
        with open(f"{self.dir}/{name}.log", "w") as log:
            p = start([f"{self.build}/bin/{program}", "--credentials", f"{self.credentials.dir}/c", *options,
                       "--ready-fd", w], stdout=log, stderr=log, pass_fds=[w])
        os.close(w)
        self.children.insert(0, p)
        with os.fdopen(r) as f:
            line = f.readline().split()
        if len(line) != 2:
            raise Failed(f"{program} did not start: " + open(f"{self.dir}/{name}.log").read()[-400:])
        return p, int(line[1])

    def add_producer(self):
        name = f"p{len(self.producers) + 1}"
        self.credentials.issue("producer", name)
        p, _ = self._start(name, "cx-producer", "--name", name, "--server", f"127.0.0.1:{self.serve_at}",
                           "--threads", self.threads, "--cache", f"{self.dir}/cache-{name}")
        self.producers.append(p)

    @property
    def env(self):
        return dict(os.environ, CX_NETWORK=f"127.0.0.1:{self.port}", CX_CREDENTIALS=f"{self.credentials.dir}/c")

    def cx(self, *words):
        return json.loads(run([f"{self.build}/bin/cx", *words, "--json"], env=self.env))

    def wait_for(self, producers):
        until = time.monotonic() + 60
        while len(self.cx("producers")) != producers:
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
        out = run([*argv, module, function, *args], env=self.env)
        return [json.loads(line) for line in out.splitlines()]

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
