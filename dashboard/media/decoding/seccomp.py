"""A filter of system calls for a process that decodes other people's files, on Linux.

What is not on the list fails with EPERM: opening and creating files, sockets, starting programs, signals,
everything about other processes. What the process already has open stays usable.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

_ALLOWED = (
    "read write close fstat lseek pread64 readv writev mmap mprotect munmap mremap madvise brk futex"
    " rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack sched_yield sched_getaffinity nanosleep"
    " clock_gettime clock_getres clock_nanosleep gettimeofday getpid gettid getrusage getrlimit sysinfo times"
    " uname getrandom membarrier rseq set_robust_list exit exit_group"
)
_X86_64 = (
    *(0, 1, 3, 5, 8, 17, 19, 20, 9, 10, 11, 25, 28, 12, 202, 13, 14, 15, 131, 24, 204, 35, 228, 229, 230, 96),
    *(39, 186, 98, 97, 99, 100, 63, 318, 324, 334, 273, 60, 231),
)
_AARCH64 = (
    *(
        63,
        64,
        57,
        80,
        62,
        67,
        65,
        66,
        222,
        226,
        215,
        216,
        233,
        214,
        98,
        134,
        135,
        139,
        132,
        124,
        123,
        101,
        113,
    ),
    *(114, 115, 169, 172, 178, 165, 163, 179, 153, 160, 278, 283, 293, 99, 93, 94),
)
# The kernel's name of the machine, the numbers above, clone.
_MACHINES = {"x86_64": (0xC000003E, _X86_64, 56), "aarch64": (0xC00000B7, _AARCH64, 220)}
_CLONE3 = 435
_CLONE_THREAD = 0x10000

_LOAD, _EQUALS, _HAS_BITS, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER, _SET_PARENT_DEATH_SIGNAL = 38, 22, 2, 1


def _program() -> bytes | None:
    """The filter as instructions of classic BPF, or None for a machine whose numbers are not known."""
    machine = _MACHINES.get(platform.machine())
    if not sys.platform.startswith("linux") or machine is None or struct.calcsize("P") != 8:
        return None
    architecture, numbers, clone = machine
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        # glibc tries clone3 first, whose flags a filter cannot read, and falls back on ENOSYS.
        (_EQUALS, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        # Decoders start threads; another process is not needed.
        (_EQUALS, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_HAS_BITS, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
    ]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        instructions.append((_EQUALS, left, 0, number))
    instructions += [(_RETURN, 0, 0, _FAIL | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)


class SystemCallFilter:
    """The filter, prepared before it is needed, because applying it must not load anything."""

    def __init__(self) -> None:
        self._code = _program()
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None

    def apply(self) -> bool:
        """Filter this process from now on, for good. Returns whether the system can."""
        if self._libc is None or self._code is None:
            return False
        buffer = ctypes.create_string_buffer(self._code, len(self._code))
        header = struct.pack("=HxxxxxxQ", len(self._code) // 8, ctypes.addressof(buffer))
        program = ctypes.create_string_buffer(header, len(header))
        if self._libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return bool(self._libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)

    def end_with_parent(self) -> None:
        """Let the kernel kill this process when its parent ends, where it can."""
        if self._libc is not None:
            self._libc.prctl(_SET_PARENT_DEATH_SIGNAL, 9, 0, 0, 0)
