"""The long form: ``python -m tests.explorer [--runs N] [--first SEED]``.

Plays 200,000 runs drawn at random, then every interleaving of each pair of ``systematic`` with one
fault (see ``LONG`` there), on all cores. Exit status 1 if a rule was broken: one run that broke it
is shown, in as few steps as break it.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import batched

from tests.explorer.draw import explore
from tests.explorer.invariants import Broken
from tests.explorer.systematic import LONG, SCENARIOS, every_run
from tests.explorer.trace import Trace, in_memory, report

RUNS = 200_000
_BATCH = 1_000

#: How many runs there were, and of each rule that broke: how often, and how to break it.
type Found = tuple[int, Counter[str], dict[str, str]]


def at_random(seeds: Iterable[int]) -> Found:
    return _found((f"seed {seed}", *explore(seed, in_memory())) for seed in seeds)


def systematic(number: int) -> Found:
    scenario = SCENARIOS[number]
    return _found(
        (f"'{scenario.name}'", *run) for bounds in LONG for run in every_run(scenario, bounds)
    )


def _found(runs: Iterable[tuple[str, Trace, Broken | None]]) -> Found:
    count, broken_rules, examples = 0, Counter[str](), dict[str, str]()
    for source, trace, broken in runs:
        count += 1
        if broken is not None:
            broken_rules[broken.rule] += 1
            if broken.rule not in examples:
                examples[broken.rule] = report(source, trace, broken)
    return count, broken_rules, examples


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.explorer")
    parser.add_argument("--runs", type=int, default=RUNS, help="drawn at random")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.first, chosen.first + chosen.runs)
    with ProcessPoolExecutor() as pool:
        drawn = [pool.submit(at_random, batch) for batch in batched(seeds, _BATCH, strict=False)]
        every = [pool.submit(systematic, number) for number in range(len(SCENARIOS))]
        broken = Counter[str]()
        for name, tasks in (("drawn at random", drawn), ("of every interleaving", every)):
            begun, runs = time.monotonic(), 0
            for task in as_completed(tasks):
                count, rules, examples = task.result()
                runs += count
                for rule in examples.keys() - broken.keys():
                    sys.stdout.write(f"{examples[rule]}\n\n")
                broken += rules
            seconds = time.monotonic() - begun
            sys.stdout.write(f"{runs} runs {name} in {seconds:.0f} s\n")
            sys.stdout.flush()
    for rule, count in broken.most_common():
        sys.stdout.write(f"{count} broke the rule: {rule}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
