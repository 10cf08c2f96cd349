"""What stands beside a window: CPU time, memory and network bytes of this process and host."""

import socket

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


def test_bytes_that_cross_the_loopback_are_counted():
    before = resources.read()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sender:
        receiver, _ = server.accept()
        with receiver:
            for _ in range(100):
                sender.sendall(b"x" * 10_000)
                left = 10_000
                while left:
                    left -= len(receiver.recv(left))
    after = resources.read()
    assert after.sent_bytes - before.sent_bytes >= 1_000_000
    assert after.received_bytes - before.received_bytes >= 1_000_000
