"""The servers that bench/net compares: starting them, and giving them the entries of a key file
(bench/engine_keys.h). They run on the first CPU and listen on the loopback interface, or on sockets
in the directory that is given."""
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Server -> its program, which is the name of its Debian package, too.
PROGRAMS = {"redis": "redis-server", "tarantool": "tarantool"}
# Entries that redis is given at once.
BATCH = 1000
# The set that scans read (bench/net_redis.c).
SORTED_SET = b"entries"


def cpu_ns(process):
    """CPU time of all its threads, and those of the processes that it has started, so far."""
    tasks = f"/proc/{process.pid}/task"
    threads = [f"{tasks}/{task}" for task in os.listdir(tasks)]
    children = [pid for thread in threads for pid in open(f"{thread}/children").read().split()]
    threads += [f"/proc/{pid}/task/{task}" for pid in children
                for task in os.listdir(f"/proc/{pid}/task")]
    return sum(int(open(f"{thread}/schedstat").read().split()[0]) for thread in threads)


def busy_ns():
    """Time that all CPUs were not idle so far, or were not given to this machine (steal)."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, process, address):
        self.process, self.address = process, address

    def stop(self):
        self.process.terminate()
        self.process.wait()


def missing():
    """The servers that are not installed."""
    return [name for name, program in PROGRAMS.items() if not shutil.which(program)]


def read_entries(path):
    """(key, value of eight bytes) of a key file."""
    with open(path, "rb") as file:
        records = file.read()
    at = 0
    while at < len(records):
        end = at + 4 + struct.unpack_from("<I", records, at)[0]
        yield records[at + 4:end], records[end:end + 8]
        at = end + 8


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def on_cpu(cpu, command, **more):
    return subprocess.Popen(["taskset", "-c", str(cpu)] + command, **more)


def wait_for(process, name, address, seconds=300):
    """A connection to what has just been started."""
    kind, _, place = address.partition(":")
    deadline = time.monotonic() + seconds
    while True:
        s = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        try:
            s.connect(place if kind == "unix" else ("127.0.0.1", int(place.split(":")[1])))
            return s
        except OSError:
            s.close()
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                sys.exit(f"bench/net: {name} does not listen")
        time.sleep(0.02)


def start(name, command, address, greeting_bytes=0, **more):
    process = on_cpu(0, command, **more)
    try:
        with wait_for(process, name, address) as s:
            s.recv(greeting_bytes)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return Server(process, address)


def new_address(directory, name, transport):
    if transport == "unix":
        return "unix:" + os.path.join(directory, name + ".sock")
    return f"tcp:127.0.0.1:{free_port()}"


def start_actd(build, directory, transport, tree, busy_poll_us, name="actd", settings=()):
    """With one worker: it has one CPU."""
    address = new_address(directory, name, transport)
    listen = "listen." + address.replace(":", "=", 1)
    command = [os.path.join(build, "daemon", "actd"), "--set", "tree.path=" + tree,
               "--set", listen, "--set", "log.level=error",
               "--set", f"daemon.busy_poll_us={busy_poll_us}", "--set", "daemon.workers=1"]
    command += [f"--set={setting}" for setting in settings]
    if transport != "unix":
        command += ["--set", "listen.unix=" + os.path.join(directory, name + "-unix.sock")]
    return start("actd", command, address)


def start_tarantool(directory, transport, keys):
    address = new_address(directory, "tarantool", transport)
    uri = address.replace("unix:", "unix/:", 1).removeprefix("tcp:")
    work = os.path.join(directory, "tarantool")
    os.makedirs(work, exist_ok=True)
    command = ["tarantool", os.path.join(HERE, "net_tarantool.lua"), keys, uri, work]
    return start("Tarantool", command, address, greeting_bytes=128)


def start_redis(directory, transport):
    address = new_address(directory, "redis", transport)
    kind, _, place = address.partition(":")
    listen = ["--unixsocket", place, "--port", "0"] if kind == "unix" else [
        "--bind", "127.0.0.1", "--port", place.rpartition(":")[2]]
    command = ["redis-server", *listen, "--save", "", "--appendonly", "no", "--daemonize", "no",
               "--dir", directory]
    return start("redis", command, address, stdout=subprocess.DEVNULL)


def bulk(word):
    return b"$%d\r\n%s\r\n" % (len(word), word)


def send_batches(server, head, words_of, keys):
    """Commands of `head` and the words of up to BATCH entries each, one after the other."""
    with wait_for(server.process, "redis", server.address) as s:
        batch = []
        for entry in read_entries(keys):
            batch.append(words_of(*entry))
            if len(batch) == BATCH:
                send_batch(s, head, batch)
                batch = []
        if batch:
            send_batch(s, head, batch)


def send_batch(s, head, batch):
    words = head + [word for words in batch for word in words]
    s.sendall(b"*%d\r\n" % len(words) + b"".join(map(bulk, words)))
    reply = b""
    while not reply.endswith(b"\r\n"):
        reply += s.recv(1000)
    if reply[:1] not in (b"+", b":"):
        sys.exit(f"bench/net: redis says {reply.decode()}")


def load_redis(server, keys):
    """Strings, for GET and MGET."""
    send_batches(server, [b"MSET"], lambda key, value: (key, value), keys)


def load_redis_sorted(server, keys):
    """A sorted set, for ZRANGEBYLEX."""
    send_batches(server, [b"ZADD", SORTED_SET], lambda key, value: (b"0", key + value), keys)
