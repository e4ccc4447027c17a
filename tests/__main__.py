"""Run the suite: ``python -m tests [arguments of pytest]``.

Each file of tests gets a process of its own. Clients, threads and patches of hundreds of tests do
not add up then, and a file behaves here as it does alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Failovers are real and so are their races with a busy machine: a failure counts when it comes three times running.
# Every rerun is shown in the summary.
_PYTEST = [sys.executable, "-m", "pytest", "-q", "--reruns", "2"]

# Tests mostly wait: for members that start, for checks that have to fail.
_AT_ONCE = 2


def main(arguments: list[str]) -> int:
    """Run what was asked for, all files by default; gives the exit code."""
    if arguments:
        return subprocess.run([*_PYTEST, *arguments], check=False).returncode
    total: Counter[str] = Counter()
    failed = []
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    with ThreadPoolExecutor(_AT_ONCE) as processes:
        for file, done in zip(files, processes.map(_run, files), strict=True):
            print(f"\n{file.name}\n{done.stdout}", end="", flush=True)
            total.update(_counts(done.stdout))
            if done.returncode:
                failed.append(file.name)
    for name in failed:
        print(f"FAILED {name}")
    print(
        f"\n{total['passed']} passed, {total['failed'] + total['error']} failed, {total['skipped']} skipped"
    )
    return 1 if failed else 0


def _run(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*_PYTEST, str(file)], check=False, stdout=subprocess.PIPE, text=True)


def _counts(output: str) -> Counter[str]:
    closing = output.strip().splitlines()[-1] if output.strip() else ""
    found = re.findall(r"(\d+) (passed|failed|error|skipped|rerun)", closing)
    return Counter({what: int(number) for number, what in found})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
