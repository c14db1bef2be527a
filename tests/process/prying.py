"""What a function tries that wants more than it was given: source to put before its own."""

PRYING = """
import ctypes, os
SYS_PIDFD_GETFD = 438
libc = ctypes.CDLL(None, use_errno=True)

def outcome(action):
    try:
        return action() or "done"
    except BaseException as error:
        return type(error).__name__

def trace(pid):
    if libc.ptrace(16, pid, 0, 0) < 0:  # PTRACE_ATTACH
        raise PermissionError(ctypes.get_errno())
    os.waitpid(pid, 0)
    libc.ptrace(17, pid, 0, 0)  # PTRACE_DETACH

def take(pid):
    pidfd = os.pidfd_open(pid)
    for fd in range(64):
        if libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0) >= 0:
            return "done"
    raise PermissionError
"""
