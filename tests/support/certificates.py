"""A self-signed certificate for a server of a test, made with the standard library alone.

Source: RFC 5280 (the certificate), RFC 8017 (RSA key and PKCS #1 v1.5 signature), X.690 (DER). The key is only as
random as a test needs.
"""

from __future__ import annotations

import base64
import hashlib
import random
from pathlib import Path

_RSA, _SHA256_RSA, _SHA256 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.11", "2.16.840.1.101.3.4.2.1"
_COMMON_NAME, _ALTERNATIVE_NAMES, _CONSTRAINTS = "2.5.4.3", "2.5.29.17", "2.5.29.19"
_BITS, _EXPONENT = 2048, 65537
_NULL = b"\x05\x00"


def self_signed(folder: Path, *names: str, until: str = "20991231235959Z") -> Path:
    """Certificate and key in one file, valid for these host names and for 127.0.0.1."""
    n, d, pieces = _key(random.Random(1))
    algorithm = _sequence(_identifier(_SHA256_RSA), _NULL)
    name = _sequence(_der(0x31, _sequence(_identifier(_COMMON_NAME), _der(0x0C, names[0].encode()))))
    hosts = [_der(0x82, host.encode()) for host in names] + [_der(0x87, bytes([127, 0, 0, 1]))]
    extensions = _sequence(
        _sequence(_identifier(_CONSTRAINTS), _der(0x01, b"\xff"), _der(0x04, _sequence(_der(0x01, b"\xff")))),
        _sequence(_identifier(_ALTERNATIVE_NAMES), _der(0x04, _sequence(*hosts))),
    )
    public = _sequence(
        _sequence(_identifier(_RSA), _NULL), _der(0x03, b"\0" + _sequence(_integer(n), _integer(_EXPONENT)))
    )
    validity = _sequence(_der(0x18, b"20200101000000Z"), _der(0x18, until.encode()))
    body = _sequence(
        _der(0xA0, _integer(2)), _integer(4711), algorithm, name, validity, name, public, _der(0xA3, extensions)
    )
    certificate = _sequence(body, algorithm, _der(0x03, b"\0" + _sign(body, n, d)))
    key = _sequence(_integer(0), *(_integer(piece) for piece in pieces))
    file = folder / f"{names[0]}.pem"
    file.write_text(_pem("CERTIFICATE", certificate) + _pem("RSA PRIVATE KEY", key))
    return file


def _key(source: random.Random) -> tuple[int, int, tuple[int, ...]]:
    p, q = _prime(source), _prime(source)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    return p * q, d, (p * q, _EXPONENT, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))


def _prime(source: random.Random) -> int:
    """A prime of half the key's length with its two highest bits set; Fermat's test suffices for a test."""
    while True:
        candidate = source.getrandbits(_BITS // 2) | 3 << (_BITS // 2 - 2) | 1
        if candidate % _EXPONENT != 1 and all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5)):
            return candidate


def _sign(body: bytes, n: int, d: int) -> bytes:
    digest = _sequence(_sequence(_identifier(_SHA256), _NULL), _der(0x04, hashlib.sha256(body).digest()))
    padded = b"\x00\x01" + b"\xff" * (_BITS // 8 - 3 - len(digest)) + b"\x00" + digest
    return pow(int.from_bytes(padded, "big"), d, n).to_bytes(_BITS // 8, "big")


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _integer(number: int) -> bytes:
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _identifier(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = bytes([40 * first + second])
    for part in rest:
        septets = [part & 0x7F]
        while part := part >> 7:
            septets.append(0x80 | part & 0x7F)
        content += bytes(reversed(septets))
    return _der(0x06, content)


def _pem(kind: str, content: bytes) -> str:
    text = base64.encodebytes(content).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n"
