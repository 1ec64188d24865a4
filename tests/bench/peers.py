"""The systems that CX is held against: building their programs, running them."""
import os
import re
import socket
import time

from harness import BENCH, ROOT, Failed, free_ports, newer, run, start, stop

PROGRAMS = {
    "gearman_worker": ["cc", "-lgearman"],
    "gearman_client": ["cc", "-lgearman"],
    "beanstalk": ["cc"],
    "mpi_farm": ["mpicc"],
    "fib_omp": ["cc", "-fopenmp"],
    "farm_omp": ["cc", "-fopenmp"],
    "fib_tbb": ["c++", "-ltbb"],
    "farm_tbb": ["c++", "-ltbb"],
}


def build():
    """Their programs, as their users would build them."""
    os.makedirs(BENCH, exist_ok=True)
    load = f"{ROOT}/examples/synthetic/load.h"
    for name, (cc, *flags) in PROGRAMS.items():
        source = f"{ROOT}/tests/bench/peers/{name}" + (".cpp" if cc == "c++" else ".c")
        if not newer(f"{BENCH}/{name}", source, load):
            run([cc, "-O2", "-D_GNU_SOURCE", f"-I{ROOT}", source, "-o", f"{BENCH}/{name}", *flags])


def _wait_port(port):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"nothing listens on port {port}")


class Queue:
    """A queue server with its workers; `with`."""

    def __init__(self, workers=2):
        self.port = free_ports(1)[0]
        self.server = start(self.server_command())
        _wait_port(self.port)
        self.workers = [start(self.worker_command()) for _ in range(workers)]
        time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in [*self.workers, self.server]:
            stop(p, kill=True)

    def rate(self, n, rounds):
        """Tasks a second."""
        return float(run([*self.client_command(), n, rounds]))

    def trip_us(self, times):
        return float(run([*self.client_command(), 1, 0, times]))


class Gearmand(Queue):
    name = "gearmand"

    def server_command(self):
        return ["gearmand", "-p", self.port, "-L", "127.0.0.1", "-l", "none", "--verbose", "FATAL"]

    def worker_command(self):
        return [f"{BENCH}/gearman_worker", self.port]

    def client_command(self):
        return [f"{BENCH}/gearman_client", self.port]

    def fill(self, n):
        run([f"{BENCH}/gearman_client", self.port, n, "fill"])


class Beanstalkd(Queue):
    name = "beanstalkd"

    def server_command(self):
        return ["beanstalkd", "-l", "127.0.0.1", "-p", self.port]

    def worker_command(self):
        return [f"{BENCH}/beanstalk", "worker", self.port]

    def client_command(self):
        return [f"{BENCH}/beanstalk", "client", self.port]

    def fill(self, n):
        run([f"{BENCH}/beanstalk", "fill", self.port, n])


def _lines(argv, env=None):
    return [float(line) for line in run(argv, env=env).splitlines() if re.fullmatch(r"[\d.]+", line)]


def mpi(*pairs):
    """Tasks a second for each (n, rounds); microseconds where n is 1. A master and two workers."""
    env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    flat = [x for pair in pairs for x in pair]
    return _lines(["mpirun", "--oversubscribe", "--bind-to", "none", "-n", 3, f"{BENCH}/mpi_farm", *flat], env)


def tbb(*pairs):
    return _lines([f"{BENCH}/farm_tbb", 2, *[x for pair in pairs for x in pair]])


def openmp(*pairs):
    return _lines([f"{BENCH}/farm_omp", 2, *[x for pair in pairs for x in pair]])


def fib(which, n):
    """Nanoseconds a task, one thread."""
    return _lines([f"{BENCH}/fib_{which}", n, 1])[0]
