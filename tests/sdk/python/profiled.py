"""A program under profile: sends where its time goes by Pyroscope's SDK for a while.

    profiled.py URL

tests/src/profiles/sdk.rs looks for `compute` in what arrives.
"""

import sys
import time

import pyroscope


def compute(seconds):
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        rounds += sum(range(1000))
    return rounds


pyroscope.configure(
    application_name="pushed.python",
    server_address=sys.argv[1],
    tags={"client": "pyroscope-io"},
    upload_interval=1,
)
compute(4)
pyroscope.shutdown()
