"""Python's sleep under libfaketime 0.9.10, whose clock_nanosleep refuses Python's deadlines (EINVAL)."""

import select
import time


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep
