"""Coverage-guided fuzzing of every target, each in its own process: ``make fuzz``.

``python -m tests.fuzz`` runs all targets, ``python -m tests.fuzz webhook --runs 1000`` runs one. An
input that breaks a target is stored in ``.local/fuzz/``; ``--input FILE`` runs it again.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # has no types

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "layers" / "cold_transfer"))  # as pytest's configuration does

ALONE = "--alone"  # marks the process that fuzzes; only there is the package instrumented

with (
    atheris.instrument_imports(include=["cold_transfer", "tests.fuzz"])
    if ALONE in sys.argv
    else contextlib.nullcontext()
):
    from tests.fuzz.targets import TARGETS, WORDS
    from tests.support import fakes

FOUND = ROOT / ".local" / "fuzz"

RUNS = 100_000

#: Longer than the largest accepted body, so that larger ones are tried too.
LONGEST = 11_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"inputs of each target ({RUNS})")
    parser.add_argument("--input", type=Path, help="run this one input")
    parser.add_argument(ALONE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.target or list(TARGETS)
    if given.input:
        for name in names:
            TARGETS[name][0](given.input.read_bytes())
        return 0
    if given.alone:
        fuzz(names[0], given.runs)
    FOUND.mkdir(parents=True, exist_ok=True)
    return max([run(name, given.runs) for name in names])


def run(name: str, runs: int) -> int:
    """Run one target in its own process, because the fuzzer ends the process that it runs in."""
    began = time.monotonic()
    log = FOUND / f"{name}.log"
    with log.open("w") as output:
        done = subprocess.run(  # noqa: S603 - this module
            [sys.executable, "-m", "tests.fuzz", name, ALONE, "--runs", str(runs)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    verdict = "nothing found" if done.returncode == 0 else f"a fault, see {log.relative_to(ROOT)}"
    print(f"{name}: {runs:,} inputs, {time.monotonic() - began:.0f} s: {verdict}", flush=True)  # noqa: T201 - a command's output
    return 0 if done.returncode == 0 else 1


def hexadecimal(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def fuzz(name: str, runs: int) -> None:
    """Fuzz one target; does not return."""
    target, seeds = TARGETS[name]
    for entry_point in (
        fakes.entry_point("webhook").Webhook,
        fakes.entry_point("event").EventFunction,
    ):
        # loaded from their files, so instrument_imports() does not see them
        for method, function in list(vars(entry_point).items()):
            if callable(function):
                setattr(entry_point, method, atheris.instrument_func(function))
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        options = [f"-runs={runs}", f"-max_len={LONGEST}", f"-artifact_prefix={FOUND}/{name}-"]
        # as hexadecimal bytes, because libFuzzer reads a dictionary as printable ASCII only
        words = Path(folder) / "words"
        words.write_text("".join(f'"{hexadecimal(word)}"\n' for word in WORDS))
        options += [f"-dict={words}", "-len_control=10", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], target)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
