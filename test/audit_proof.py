#!/usr/bin/env python3
"""Checks that a row of provconn's audit is in what was sealed, without the database.

    audit_proof.py DIGEST.json PROOF.json [SEALS.json...]

DIGEST is what provconn_seal_audit() returned, kept outside, and PROOF what
provconn_audit_proof(audit_id) did.  If the digest is of a later seal than the proof,
SEALS have those after the proof's up to the digest's, one on a line.  All are UTF-8.
Written from doc/audit.md alone."""

import hashlib
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

def check(holds, why):
    if not holds:
        raise ValueError(why)

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

# How values of JSON become bytes.
def number(value, size):
    check(type(value) is int, "no integer")
    return value.to_bytes(size, "big", signed=True)

def octets(value, size):
    check(len(bytes.fromhex(value)) == size and bytes.fromhex(value).hex() == value, f"not {size} bytes")
    return bytes.fromhex(value)

def digits(value):
    check(str(int(value)) == value, "no integer as a string")
    return number(int(value), 8)

def uuid(value):
    check(str(UUID(value)) == value, "no UUID")
    return UUID(value).bytes

def time(value):
    since = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ") - datetime(1970, 1, 1)
    return number(since // timedelta(microseconds=1), 8)

INT, LONG = lambda value: number(value, 4), lambda value: number(value, 8)
HASH, SALT, TEXT = lambda value: octets(value, 32), lambda value: octets(value, 16), str.encode
ENTRY = dict(
    audit_id=uuid, occurred_at=time, connection_id=uuid, seq=LONG, provider_id=uuid, provider_slug=TEXT,
    action=TEXT, outcome=TEXT, old_status=TEXT, new_status=TEXT, error_code=TEXT, version=INT, session_role=TEXT,
    caller_role=TEXT, origin=INT, transaction_id=digits, attempt_id=digits, personal_hash=HASH)
PERSONAL = dict(user_id=uuid, owner_id=uuid, reason=TEXT, application_name=TEXT, client_address=TEXT)
SEAL = dict(
    previous_hash=HASH, seal_id=LONG, sealed_at=time, origin=INT, row_count=INT, head_count=INT, first_id=uuid,
    last_id=uuid, settled=TEXT, root=HASH)

def get(row, name, convert):
    check(name in row, f"{name} is not there")
    try:
        return None if row[name] is None else convert(row[name])
    except Exception as error:
        raise ValueError(f"{name} is malformed: {error}") from None

def fields(row, columns):
    values = [get(row, name, convert) for name, convert in columns.items()]
    return b"".join(b"\0" if v is None else b"\1" + len(v).to_bytes(4, "big") + v for v in values)

def root_of(node, index, size, path):
    path = [HASH(step) for step in path]
    while size > 1:
        if index % 2 == 1 or index + 1 < size:
            check(path, "audit_path is too short")
            node = sha256(b"\1", path.pop(0), node) if index % 2 == 1 else sha256(b"\1", node, path.pop(0))
        index, size = index // 2, (size + 1) // 2
    check(not path, "audit_path is too long")
    return node

def check_seal(seal, expected, where):
    """A seal is what its hash says, and its hash is the one that is expected."""
    previous = "00" * 32 if seal["previous_hash"] is None else seal["previous_hash"]
    found = sha256(b"\2\1", fields({**seal, "previous_hash": previous}, SEAL))
    check(found == get(seal, "seal_hash", HASH), f"seal_hash is not that of seal {seal['seal_id']}")
    check(found == expected, f"seal {seal['seal_id']} has not the hash that is in {where}")

def check_proof(digest, proof, seals):
    entry, seal, index, size = proof["entry"], proof["seal"], proof["leaf_index"], proof["tree_size"]
    personal = entry["personal"]
    check(proof["format"] == 1 and digest["format"] == 1, "format is not 1")

    leaf = sha256(b"\0\1", get(entry, "previous_hash", HASH) or bytes(32), fields(entry, ENTRY))
    check(leaf == get(entry, "entry_hash", HASH), "entry_hash is not that of the entry")
    if personal is not None:
        commitment = sha256(get(personal, "salt", SALT) or b"", fields(personal, PERSONAL))
        check(commitment == get(entry, "personal_hash", HASH), "personal_hash is not that of the personal values")

    check(size == seal["row_count"] + seal["head_count"], "tree_size is not row_count + head_count")
    check(type(index) is int and 0 <= index < seal["row_count"], "leaf_index is not that of a row")
    root = root_of(leaf, index, size, proof["audit_path"])
    check(root == get(seal, "root", HASH), "audit_path does not lead to the root")

    # From the digest's seal to the proof's, each of them holding the hash of the one before.
    newest, expected, where = digest["seal_id"], get(digest, "seal_hash", HASH), "the digest"
    check(newest >= seal["seal_id"], "the digest is of an earlier seal than the proof")
    for seal_id in range(newest, seal["seal_id"], -1):
        check(seal_id in seals, f"seal {seal_id} is needed, between the proof's and the digest's")
        check_seal(seals[seal_id], expected, where)
        expected, where = get(seals[seal_id], "previous_hash", HASH), f"seal {seal_id}"
    check_seal(seal, expected, where)
    sealed = seal if newest == seal["seal_id"] else seals[newest]
    for name, column in dict(root="root", rows="row_count", heads="head_count", sealed_at="sealed_at", mac="mac").items():
        check(digest[name] == sealed[column], f"{name} of the digest is not that of its seal")
    return (f"ok: row {entry['audit_id']} is leaf {index} of {size} in seal {seal['seal_id']}, by the digest of seal "
            f"{newest}: {entry['action']}, {entry['outcome']}, {entry['occurred_at']}, personal values "
            + ("not told" if personal is None else "proved too"))

def verdict(digest, proof, *files):
    try:
        seals = [json.loads(line) for file in files for line in file.splitlines()]
        return check_proof(json.loads(digest), json.loads(proof), {seal["seal_id"]: seal for seal in seals})
    except KeyError as error:
        return f"FAILED: {error} is not there"
    except Exception as error:
        return f"FAILED: {error}"

def main(names):
    if len(names) < 2:
        return f"FAILED: {__doc__}"
    try:
        return verdict(*[Path(name).read_bytes() for name in names])
    except OSError as error:
        return f"FAILED: {error}"

if __name__ == "__main__":
    told = main(sys.argv[1:])
    print(told.encode("ascii", "backslashreplace").decode())
    sys.exit(not told.startswith("ok: "))
