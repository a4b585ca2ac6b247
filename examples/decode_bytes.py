"""Ask and decode over a socket of one's own: bmslink makes and explains bytes, and nothing else.

python decode_bytes.py 192.168.1.20 8899
"""

import socket
import sys

import bmslink

host, port = sys.argv[1:]
decoder = bmslink.Decoder("jbd")

with socket.create_connection((host, int(port)), timeout=2.0) as line:
    for request in ("basic_info", "cells"):
        line.sendall(bmslink.encode("jbd", request))
        frames = decoder.frames
        while decoder.frames == frames:  # chunks may be cut anywhere
            for reading in decoder.feed(line.recv(256)):
                print(f"{reading.voltage} V, {reading.current} A, cells {reading.cell_voltages}")

print(f"{decoder.frames} frames, {decoder.skipped} bytes of noise")
