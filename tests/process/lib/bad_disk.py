"""A file on a disk that fails, or hangs, when it is told to: a file system of one file in this
process, spoken to by the kernel's own protocol (linux/fuse.h) on /dev/fuse. Needs root.

The mount point is the file itself, so there are no directories and no names to look up.
"""

import ctypes
import errno
import os
import stat
import struct
import threading

import pytest

# Requests, and the three that get no reply.
GETATTR, OPEN, READ, RELEASE, FLUSH, INIT = 3, 14, 15, 18, 25, 26
FORGET, INTERRUPT, BATCH_FORGET = 2, 36, 42

REQUEST = struct.Struct("<IIQQIIII")  # length, request, unique, node, uid, gid, pid, -
REPLY = struct.Struct("<IiQ")  # length, -errno, unique
READ_IN = struct.Struct("<QQIIQII")  # handle, offset, size, -, -, -, -
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")  # version, read-ahead, flags, limits, max_write, ...
ATTR = struct.Struct("<QQQQQQIIIIIIIIII")  # inode, size, blocks, times, mode, links, owner, ...
VALID_FOR_S = 3600

MS_RDONLY, MS_NOSUID, MS_NODEV, MNT_DETACH = 1, 2, 4, 2
INPUT_BYTES = 1 << 17


class BadDisk:
    """with BadDisk(path, content) as disk: path leads to a file of that content."""

    def __init__(self, path, content):
        if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
            pytest.skip("needs root and /dev/fuse: mounts a file system")
        self.path = path
        self.content = content
        self.bad_from = len(content)  # what lies behind it, and is not in memory, cannot be read
        self.bad_to = float("inf")  # from here on it can be read again
        self.n_failed = 0
        self.is_hanging = self.is_killable = False
        self.is_asked = threading.Event()  # something is to be read, and is not
        self.held = {}  # requests to read: {unique: body}
        self.lock = threading.Lock()  # of these
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self):
        open(self.path, "wb").close()
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=100000,user_id=0,group_id=0,allow_other"
        flags = MS_RDONLY | MS_NOSUID | MS_NODEV
        path = os.fsencode(self.path)
        if self.libc.mount(b"baddisk", path, b"fuse", flags, options.encode()) != 0:
            os.close(self.fd)
            pytest.skip(f"cannot mount here: {os.strerror(ctypes.get_errno())}")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def hang(self, is_killable=True):
        """What is not in memory is not read, before go_on. Who waits for it can be killed, as on
        a network file system that is mounted soft, or else cannot."""
        with self.lock:
            self.is_hanging, self.is_killable = True, is_killable

    def go_on(self):
        with self.lock:
            self.is_hanging = False
            held, self.held = self.held, {}
        for unique, body in held.items():
            self.reply(unique, *self.answer(READ, body))

    def __exit__(self, *_):
        self.go_on()
        self.libc.umount2(os.fsencode(self.path), MNT_DETACH)
        self.thread.join(10)
        os.close(self.fd)

    def serve(self):
        """Until it is unmounted."""
        while True:
            try:
                message = os.read(self.fd, INPUT_BYTES)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                continue  # a request that was interrupted meanwhile
            _, request, unique, *_ = REQUEST.unpack_from(message)
            body = message[REQUEST.size :]
            if request == INTERRUPT:
                self.interrupt(struct.unpack_from("<Q", body)[0])
            elif request not in (FORGET, BATCH_FORGET) and not self.hold(request, unique, body):
                self.reply(unique, *self.answer(request, body))

    def reply(self, unique, number, body):
        try:
            os.write(self.fd, REPLY.pack(REPLY.size + len(body), -number, unique) + body)
        except FileNotFoundError:
            pass  # it was interrupted meanwhile

    def hold(self, request, unique, body):
        with self.lock:
            if request != READ or not self.is_hanging:
                return False
            self.held[unique] = body
        self.is_asked.set()
        return True

    def interrupt(self, unique):
        with self.lock:
            is_ended = self.is_killable and self.held.pop(unique, None) is not None
        if is_ended:
            self.reply(unique, errno.EINTR, b"")

    def answer(self, request, body):
        """(errno, what the reply says)."""
        if request == INIT:
            # No read-ahead: what is not asked for stays unread.
            return 0, INIT_OUT.pack(7, 31, 0, 0, 16, 12, 4096, 1, 0, 0, 0)
        if request == GETATTR:
            return 0, struct.pack("<QII", VALID_FOR_S, 0, 0) + self.attributes()
        if request == OPEN:
            return 0, struct.pack("<QII", 0, 0, 0)
        if request == READ:
            _, offset, size, *_ = READ_IN.unpack_from(body)
            if not self.bad_from <= offset < self.bad_to:
                return 0, self.content[offset : offset + size]
            self.n_failed += 1
            return errno.EIO, b""
        return (0, b"") if request in (RELEASE, FLUSH) else (errno.ENOSYS, b"")

    def attributes(self):
        size = len(self.content)
        mode = stat.S_IFREG | 0o444
        times = (10**9,) * 3 + (0,) * 3
        return ATTR.pack(1, size, (size + 511) // 512, *times, mode, 1, 0, 0, 0, 4096, 0)
