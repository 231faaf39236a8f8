"""Name the mutants that no test has noticed, and fail if there are too many of them.

python .ci/mutation_score.py    # after `mutmut run`
"""

import json
import subprocess
import sys
from pathlib import Path

LEAST = 0.96  # of the mutants that are to be killed


def mutmut(*words: str) -> str:
    """Return what a command of the tester prints."""
    command = [sys.executable, "-m", "mutmut", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


def changed_lines(name: str) -> str:
    """Return what a mutant takes away and puts in its place."""
    lines = mutmut("show", name).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


mutmut("export-cicd-stats")
counts = json.loads(Path("mutants/mutmut-cicd-stats.json").read_text(encoding="utf-8"))
for line in mutmut("results").splitlines():
    name, _, outcome = line.strip().partition(": ")
    if outcome in ("survived", "no tests", "suspicious"):
        print(f"\n{name}: {outcome}\n{changed_lines(name)}")
share = (counts["killed"] + counts["timeout"]) / counts["total"]
print(f"\n{counts}\nkilled, or stopped where they would run forever: {share:.1%}")
sys.exit(share < LEAST)
