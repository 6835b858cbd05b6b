"""Suspend processes."""

import os

import psutil


def suspend(child: psutil.Process) -> None:
    """Suspend a child of this process, and wait until all its threads have stopped.

    On a busy machine they run on for a while after the signal.
    """
    child.suspend()
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
