"""The case of the scale model: 10,000 producers and 128 shards in virtual time."""
import json

from cases import case
from harness import record, run

BAR = 0.9


@case("scale_10k")
def scale_10k(x):
    program = f"{x.build}/tests/sim/scale"
    sizes = json.loads(run([program, "--full", "--json"], timeout=1800))["sizes"]
    v = sizes[-1]["efficiency"]
    alone = sizes[0]["efficiency"]
    last = sizes[-1]
    detail = {"sizes": sizes,
              "note": f"a model, not a measurement: the shipped task-server cores in virtual time, {last['pairs']} pairs, "
                      f"{last['producers']:,} producers of 1 to 4 threads that come and go; three trees of tasks of a "
                      f"second, {last['tasks']:,} in all, enter at one shard; work / (threads present x time); "
                      f"{last['duplicates']} duplicates, {last['messages_producers']:.2f} messages a task between server "
                      f"and producer, {last['messages_shards']:.2f} between shards; baseline: ten producers, one pair",
              "command": "build/release/tests/sim/scale --full --json"}
    yield record("scale_10k", v, "efficiency", "10 producers", alone, v / alone, BAR, v >= BAR), detail
