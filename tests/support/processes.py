"""Suspend processes."""

import psutil

from local.polling import eventually


def suspend(process: psutil.Process) -> None:
    """Suspend a process, and wait until all its threads have stopped.

    On a busy machine they run on for a while after the signal.
    """
    process.suspend()

    def stopped() -> None:
        for thread in process.threads():
            status = psutil.Process(thread.id).status()
            assert status == psutil.STATUS_STOPPED, f"thread {thread.id} is {status}"

    eventually(stopped, within=10)
