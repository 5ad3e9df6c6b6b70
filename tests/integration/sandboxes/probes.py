"""Scripts that are run inside a cell, with nothing but Python's own modules, and try what must fail."""

CONNECT = """
import json, socket, sys, time
answers = {}
for target in json.loads(sys.argv[1]):
    family, address = getattr(socket, target[0]), target[1]
    begun = time.monotonic()
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect(tuple(address) if isinstance(address, list) else address)
            answers[str(address)] = "connected"
        except OSError as error:
            answers[str(address)] = "refused"
    if time.monotonic() - begun > 1:
        answers[str(address)] = "stalled"
print(json.dumps(answers))
"""
"""Connects to each [family, address]."""

RESOLVE = """
import json, socket, time
begun = time.monotonic()
try:
    found = [each[4][0] for each in socket.getaddrinfo("example.org", 80)]
except OSError:
    found = []
print(json.dumps({"found": found, "took_s": time.monotonic() - begun}))
"""
"""Looks a name up."""

READ = """
import json, os, sys
read = []
for path in json.loads(sys.argv[1]):
    try:
        read.append(open(path, "rb").read().decode())
    except OSError:
        pass
    try:
        read += os.listdir(path)
    except OSError:
        pass
print(json.dumps(read))
"""
"""What can be read of these files and folders."""

WRITE = """
import json, os, sys
written = []
for path in json.loads(sys.argv[1]):
    try:
        os.close(os.open(path, os.O_WRONLY | (0 if os.path.exists(path) else os.O_CREAT)))
        written.append(path)
    except OSError:
        pass
print(json.dumps(written))
"""
"""Which of these files can be made, or opened for writing."""

ENVIRONMENTS = """
import json, os
read = []
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        read.append(open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace"))
    except OSError:
        pass
print(json.dumps("".join(read)))
"""
"""The environments of all processes that can be read."""

PROCESSES = """
import json, os
names = {}
for pid in filter(str.isdecimal, os.listdir("/proc")):
    names[pid] = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\\0", b" ").decode()
print(json.dumps(names))
"""
"""Every process, with its command line."""

SIGNAL = """
import json, os, sys
reached = []
for pid in map(int, sys.argv[1:]):
    try:
        os.kill(pid, 0)
        reached.append(pid)
    except OSError:
        pass
print(json.dumps(reached))
"""
"""Which of these processes a signal would reach."""
