#!/usr/bin/env python3
"""Writes a small capture of mixed traffic: make_pcap.py OUT.pcap [PACKETS].

The traffic is always the same for the same number of packets: DNS and other UDP, TCP connections,
IPv6, VLAN-tagged frames and ARP, one packet per microsecond, with right checksums, so that
programs which compute or compare them find what a real network has.
"""
import struct
import sys

ROUTER, LAPTOP = bytes.fromhex("02005e100001"), bytes.fromhex("02005e100002")
ETH_IPV4, ETH_IPV6, ETH_ARP, ETH_VLAN = 0x0800, 0x86DD, 0x0806, 0x8100
TCP, UDP = 6, 17
SYN, ACK, PSH, FIN = 0x02, 0x10, 0x08, 0x01


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(ethertype, payload, vlan=None):
    tag = struct.pack("!HH", ETH_VLAN, vlan) if vlan is not None else b""
    return (ROUTER + LAPTOP + tag + struct.pack("!H", ethertype) + payload).ljust(60, b"\0")


def ipv4(protocol, source, target, payload, number):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), number & 0xFFFF, 0x4000, 64,
                         protocol, 0, source, target)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(protocol, source, target, payload):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64, source, target) + payload


def pseudo_header(source, target, protocol, length):
    return source + target + struct.pack("!IHBB", length, 0, 0, protocol) if len(source) == 16 else \
        source + target + struct.pack("!BBH", 0, protocol, length)


def udp(source, target, source_port, target_port, data):
    header = struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0)
    value = checksum(pseudo_header(source, target, UDP, 8 + len(data)) + header + data) or 0xFFFF
    return header[:6] + struct.pack("!H", value) + data


def tcp(source, target, source_port, target_port, flags, sequence, data=b""):
    header = struct.pack("!HHIIBBHHH", source_port, target_port, sequence, 0, 0x50, flags, 64240, 0, 0)
    value = checksum(pseudo_header(source, target, TCP, 20 + len(data)) + header + data)
    return header[:16] + struct.pack("!H", value) + header[18:] + data


def dns_query(number):
    name = b"\x03www\x07example\x03com\x00"
    return struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1)


def frame(number):
    """The packet at that place: ten kinds in turn, from 64 hosts."""
    host = bytes((10, 0, 0, 1 + number // 10 % 64))
    server = bytes((192, 0, 2, 1 + number % 3))
    host6 = bytes.fromhex("20010db8000000000000000000000000")[:15] + host[3:]
    server6 = bytes.fromhex("20010db80000000000000000000000ff")
    port = 32768 + number % 16384
    kind = number % 10
    if kind in (0, 5):
        return ethernet(ETH_IPV4, ipv4(UDP, host, server, udp(host, server, port, 53, dns_query(number)), number))
    if kind == 1:
        return ethernet(ETH_IPV4, ipv4(TCP, host, server, tcp(host, server, port, 443, SYN, number), number))
    if kind in (2, 3):
        data = bytes(range(256)) * 2
        return ethernet(ETH_IPV4, ipv4(TCP, host, server, tcp(host, server, port, 443, ACK | PSH, number, data), number))
    if kind == 4:
        return ethernet(ETH_IPV4, ipv4(TCP, host, server, tcp(host, server, port, 80, ACK | FIN, number), number))
    if kind == 6:
        return ethernet(ETH_IPV6, ipv6(TCP, host6, server6, tcp(host6, server6, port, 443, SYN, number)))
    if kind == 7:
        return ethernet(ETH_IPV6, ipv6(UDP, host6, server6, udp(host6, server6, port, 53, dns_query(number))))
    if kind == 8:
        return ethernet(ETH_IPV4, ipv4(UDP, host, server, udp(host, server, port, 4789, b"x" * 40), number), vlan=100)
    return ethernet(ETH_ARP, struct.pack("!HHBBH6s4s6s4s", 1, ETH_IPV4, 6, 4, 1, LAPTOP, host, b"\0" * 6, server))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    count = int(sys.argv[2]) if len(sys.argv) == 3 else 1000
    with open(sys.argv[1], "wb") as out:
        # The classic format, nanoseconds, Ethernet.
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
        for number in range(count):
            data = frame(number)
            nanoseconds = number * 1000
            out.write(struct.pack("<IIII", 1700000000 + nanoseconds // 10**9, nanoseconds % 10**9,
                                  len(data), len(data)) + data)


main()
