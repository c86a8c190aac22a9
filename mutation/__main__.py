"""`python -m mutation`: mutate a sample, run the tests, and report the mutants that no test has noticed."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mutation.equivalents import EquivalentMutant, find_unused_equivalents, read_equivalents
from mutation.mutants import Mutant, find_mutants
from mutation.sandbox import BaselineError, Outcome, Sandbox, test_mutants
from mutation.targets import TARGETS, list_modules

_ROOT = Path(__file__).parents[1]
_EQUIVALENTS = Path(__file__).with_name("equivalents.toml")
_GOAL = 90
_QUICK_COUNT = 12
_DESCRIPTION = """\
Changes one expression or statement of a module at a time, and runs the tests that can notice it, in a copy of the
repository. A mutant that no test notices survives: write a test for it, or add it to mutation/equivalents.toml with the
reason why no test can notice it."""
_EPILOG = f"""\
exit codes: 0 at least {_GOAL} % are killed or time out; 1 fewer are, or an entry of equivalents.toml matches no mutant;
2 usage; 3 the tests fail without a mutant"""


def main(argv: list[str]) -> int:
    """Run the command, and return its exit code."""
    options = _parse_arguments(argv)
    equivalents = read_equivalents(_EQUIVALENTS)
    targets = [
        (module, target)
        for target in TARGETS
        if target.is_quick or not options.quick
        for module in list_modules(target, _ROOT)
        if not options.only or any(module.startswith(f"envcompile/{prefix}") for prefix in options.only)
    ]
    mutants = [mutant for module, _ in targets for mutant in find_mutants(module, (_ROOT / module).read_text("utf-8"))]
    unused = find_unused_equivalents(equivalents, mutants)
    mutants = [mutant for mutant in mutants if EquivalentMutant.from_mutant(mutant) not in equivalents]
    sample = random.Random(options.seed).sample(mutants, min(options.count, len(mutants)))
    if options.list:
        for mutant in sample:
            print(_format_mutant(mutant))
        return 0
    if not sample:
        print("no module of the targets starts with these prefixes", file=sys.stderr)
        return 2
    print(f"{len(sample)} of {len(mutants)} mutants of {len(targets)} modules, seed {options.seed}", flush=True)
    start = time.monotonic()
    tests = {test for module, target in targets if any(m.module == module for m in sample) for test in target.tests}
    outcomes: list[tuple[Mutant, Outcome]] = []
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        sandboxes = [Sandbox(_ROOT, Path(folder) / str(number)) for number in range(options.jobs)]
        try:
            coverage = sandboxes[0].record_coverage(tests, {mutant.module for mutant in sample})
            print(f"{coverage.describe()}, {time.monotonic() - start:.0f} s without a mutant", flush=True)
            for mutant, outcome in test_mutants(sample, coverage, sandboxes):
                outcomes.append((mutant, outcome))
                if outcome is Outcome.SURVIVED:
                    print(_format_mutant(mutant), flush=True)
        except BaselineError as error:
            print(f"the tests fail without a mutant:\n{error}", file=sys.stderr)
            return 3
    _print_table(outcomes, time.monotonic() - start)
    for each in unused:
        print(f"equivalents.toml: no mutant of {each.module} {each.function} matches `{each.after}`", file=sys.stderr)
    killed = sum(outcome is not Outcome.SURVIVED for _, outcome in outcomes)
    return int(bool(unused) or killed * 100 < _GOAL * len(outcomes))


def _parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m mutation",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which mutants are drawn (default: 1)")
    parser.add_argument(
        "--count", type=int, metavar="N", help=f"number of mutants (default: 300, {_QUICK_COUNT} with --quick)"
    )
    parser.add_argument(
        "--only", action="append", metavar="PREFIX", help="modules whose path below envcompile/ starts so: lock/reader"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants tested at a time (default: 2)")
    parser.add_argument("--quick", action="store_true", help="a few mutants of small modules, in less than a minute")
    parser.add_argument("--list", action="store_true", help="print the sample and run no test")
    options = parser.parse_args(argv)
    if options.count is None:
        options.count = _QUICK_COUNT if options.quick else 300
    if options.count < 1 or options.jobs < 1:
        parser.error("--count and --jobs need a number above 0")
    return options


def _format_mutant(mutant: Mutant) -> str:
    where = f"{mutant.module}:{mutant.line}{f' in {mutant.function}' if mutant.function else ''}"
    return f"{where}\n- {mutant.before}\n+ {mutant.after}"


def _print_table(outcomes: list[tuple[Mutant, Outcome]], seconds: float) -> None:
    modules = sorted({mutant.module for mutant, _ in outcomes})
    width = max(map(len, modules))
    print(f"\n{'module':{width}}  {'  '.join(outcome.value for outcome in Outcome)}")
    for module in [*modules, ""]:
        counts = Counter(outcome for mutant, outcome in outcomes if module in ("", mutant.module))
        cells = (f"{counts[outcome]:{len(outcome.value)}}" for outcome in Outcome)
        print(f"{module or 'all':{width}}  {'  '.join(cells)}")
    survived = sum(outcome is Outcome.SURVIVED for _, outcome in outcomes)
    print(
        f"\n{100 * (1 - survived / len(outcomes)):.1f} % noticed in {seconds / 60:.1f} minutes; the goal is {_GOAL} %"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
