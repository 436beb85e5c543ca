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

_ALLOWED = """
    read 0 63 | write 1 64 | close 3 57 | fstat 5 80 | lseek 8 62 | pread64 17 67 | readv 19 65 |
    writev 20 66 | mmap 9 222 | mprotect 10 226 | munmap 11 215 | mremap 25 216 | madvise 28 233 |
    brk 12 214 | futex 202 98 | rt_sigaction 13 134 | rt_sigprocmask 14 135 | rt_sigreturn 15 139 |
    sigaltstack 131 132 | sched_yield 24 124 | sched_getaffinity 204 123 | nanosleep 35 101 |
    clock_gettime 228 113 | clock_getres 229 114 | clock_nanosleep 230 115 | gettimeofday 96 169 |
    getpid 39 172 | gettid 186 178 | getrusage 98 165 | getrlimit 97 163 | sysinfo 99 179 |
    times 100 153 | uname 63 160 | getrandom 318 278 | membarrier 324 283 | rseq 334 293 |
    set_robust_list 273 99 | exit 60 93 | exit_group 231 94
"""
"""Each system call with its numbers on x86_64 and on aarch64."""


def allowed_calls() -> dict[str, tuple[int, int]]:
    """Return the numbers of each allowed system call, on x86_64 and on aarch64, by its name."""
    rows = [row.split() for row in _ALLOWED.split("|")]
    return {name: (int(intel), int(arm)) for name, intel, arm in rows}


_X86_64, _AARCH64 = zip(*allowed_calls().values(), strict=True)
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
