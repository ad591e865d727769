"""Processes that end with the one that started them, however that ends."""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def dying_with_parent() -> list[str]:
    """What runs a program so that Linux ends it when this process ends, however it ends.

    The child asks for that itself, and only then becomes the program: code that runs between fork
    and exec must not meet the threads of its parent.
    """
    if sys.platform != "linux":
        return []
    code = (
        "import ctypes, os, sys\n"
        f"ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)})\n"
        f"if os.getppid() == {os.getpid()}: os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    return [sys.executable, "-I", "-S", "-c", code]
