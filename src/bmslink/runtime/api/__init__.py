"""The service's HTTP interface: JSON and a stream of events over a local socket.

It needs the extra `service`, and is imported only by what serves.
"""
