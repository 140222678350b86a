"""What the process frees stays with it, where asked for."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from stylegan_fast.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
import numpy as np

def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for turn in range(4):
    before = page_faults()
    np.empty(48 << 20, dtype=np.uint8).fill(1)
print(page_faults() - before)
"""


def faults_of_the_last_of_four(mode: str) -> int:
    found = subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True, text=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_a_large_block_freed_is_a_large_block_without_page_faults() -> None:
    kept, given_back = faults_of_the_last_of_four("kept"), faults_of_the_last_of_four("default")
    assert kept < 10
    assert given_back > 10 * max(kept, 1)  # else the setting is not what kept it
