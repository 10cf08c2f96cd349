"""What stands beside a window: CPU time, memory and network bytes of this process and host."""

import socket
import subprocess
import sys

from bench.collectors import resources


def test_cpu_time_grows_with_work_and_not_with_waiting():
    before = resources.read()
    sum(number * number for number in range(400_000))
    after = resources.read()
    assert after.cpu_ns - before.cpu_ns > 5_000_000


def test_memory_that_is_used_shows():
    before = resources.read().rss_bytes
    held = bytearray(b"x" * 50_000_000)
    assert resources.read().rss_bytes - before > 45_000_000
    del held


def test_bytes_of_own_connections_are_counted_exactly_and_the_connections_live_on():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sender:
        receiver, _ = server.accept()
        with receiver:
            before = resources.read()
            for _ in range(100):
                sender.sendall(b"x" * 10_000)
                receiver.recv(10_000, socket.MSG_WAITALL)
            after = resources.read()
            sender.sendall(b"still open")
            assert receiver.recv(10, socket.MSG_WAITALL) == b"still open"
    assert after.sent_bytes - before.sent_bytes == 1_000_000
    assert after.received_bytes - before.received_bytes == 1_000_000


def test_bytes_of_another_process_are_not_counted():
    other = "import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname());"
    other += "r, _ = s.accept(); c.sendall(b'x' * 50_000); r.recv(50_000, socket.MSG_WAITALL)"
    before = resources.read()
    subprocess.run([sys.executable, "-c", other], check=True)
    after = resources.read()
    assert (after.sent_bytes, after.received_bytes) == (before.sent_bytes, before.received_bytes)
