"""Whatever several threads do with one object, the process lives and no error asks for a report: see races.py."""

import subprocess
import sys
from pathlib import Path


def test_no_race_crashes_the_process(elsewhere):
    program = Path(__file__).with_name("races.py")
    done = subprocess.run([sys.executable, "-X", "faulthandler", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-200:]}\n{done.stderr[-2000:]}"
    assert done.stdout.endswith("done\n")
