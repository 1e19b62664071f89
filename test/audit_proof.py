#!/usr/bin/env python3
"""Checks a proof of provconn_audit_proof() without the database.

    audit_proof.py DIGEST < PROOF

DIGEST is a file with the digest of the seal that the proof is of, as
provconn_seal_audit() returned it.  Written from doc/audit.md alone.
"""
import datetime
import hashlib
import json
import struct
import sys
import uuid

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def sha(data):
    return hashlib.sha256(data).digest()


def field(value, kind):
    if value is None:
        return b"\0"
    if kind == "uuid":
        data = uuid.UUID(value).bytes
    elif kind == "int":
        data = struct.pack(">i", value)
    elif kind == "long":
        data = struct.pack(">q", int(value))
    elif kind == "time":
        since = datetime.datetime.fromisoformat(value.replace("Z", "+00:00")) - EPOCH
        data = struct.pack(">q", since // datetime.timedelta(microseconds=1))
    elif kind == "hash":
        data = bytes.fromhex(value)
    else:
        data = value.encode()
    return b"\1" + struct.pack(">I", len(data)) + data


def fields(record, kinds):
    return b"".join(field(record[name], kind) for name, kind in (k.split(":") for k in kinds.split()))


def entry_hash(entry):
    previous = bytes.fromhex(entry["previous_hash"] or "00" * 32)
    return sha(b"\0\1" + previous + fields(entry, """
        audit_id:uuid occurred_at:time connection_id:uuid seq:long provider_id:uuid provider_slug:text
        action:text outcome:text old_status:text new_status:text error_code:text version:int
        session_role:text caller_role:text origin:int transaction_id:long attempt_id:long
        personal_hash:hash"""))


def personal_hash(personal):
    return sha(bytes.fromhex(personal["salt"]) + fields(
        personal, "user_id:uuid owner_id:uuid reason:text application_name:text client_address:text"))


def seal_hash(seal):
    return sha(b"\2\1" + fields(dict(seal, previous_hash=seal["previous_hash"] or "00" * 32), """
        previous_hash:hash seal_id:long sealed_at:time origin:int row_count:int head_count:int
        first_id:uuid last_id:uuid settled:text root:hash"""))


def root_of(leaf, index, size, path):
    while size > 1:
        if index % 2:
            leaf = sha(b"\1" + path.pop(0) + leaf)
        elif index + 1 < size:
            leaf = sha(b"\1" + leaf + path.pop(0))
        index, size = index // 2, (size + 1) // 2
    return None if path else leaf


def complaint(proof, digest):
    entry, seal = proof["entry"], proof["seal"]
    if proof["format"] != 1 or digest["format"] != 1:
        return "of another format"
    if entry_hash(entry).hex() != entry["entry_hash"]:
        return "the row is not what was hashed"
    if entry["personal"] and personal_hash(entry["personal"]).hex() != entry["personal_hash"]:
        return "the personal values are not what was committed to"
    path = [bytes.fromhex(step) for step in proof["audit_path"]]
    if proof["tree_size"] != seal["row_count"] + seal["head_count"] or not 0 <= proof["leaf_index"] < seal["row_count"]:
        return "the place is not in the tree"
    try:
        root = root_of(entry_hash(entry), proof["leaf_index"], proof["tree_size"], path)
    except IndexError:
        root = None
    if root is None or root.hex() != seal["root"]:
        return "the path does not lead to the root"
    if seal_hash(seal).hex() != seal["seal_hash"]:
        return "the seal is not what was hashed"
    if seal["seal_hash"] != digest["seal_hash"]:
        return "the digest is of another seal"
    return None


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        found = complaint(json.load(sys.stdin), json.load(file))
    print(found or "proven")
    sys.exit(1 if found else 0)
