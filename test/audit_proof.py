#!/usr/bin/env python3
"""Checks, without the database, that a row is in provconn's audit.

    audit_proof.py DIGEST.json PROOF.json [SEALS.json ...]

DIGEST is what provconn_seal_audit() returned and you have kept, PROOF what
provconn_audit_proof() returned. If the digest is of a later seal than the proof,
the seals in between are needed, one JSON after the other in any number of files:
SELECT provconn.seal_json(s) FROM provconn.seal AS s. Prints "ok: ..." and exits
with 0, or "FAILED: ..." and 1. Written from doc/audit.md, where all is explained.
"""
import datetime, hashlib, json, re, sys

def need(holds, what):
    if not holds:
        raise ValueError(what)

def shaped(pattern, value):
    need(isinstance(value, str) and re.fullmatch(pattern, value), f"{value!a} is not what should be there")
    return value

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

# --- what a value in JSON is in bytes ---

def hexadecimal(size):
    return lambda value: bytes.fromhex(shaped("[0-9a-f]{%d}" % (2 * size), value))

def number(size, kind=int):
    def encode(value):
        need(type(value) is kind, f"{value!a} is not a number, or not written as one should be")
        return int(shaped("0|-?[1-9][0-9]{0,18}", str(value))).to_bytes(size, "big", signed=True)
    return encode

def uuid(value):
    return bytes.fromhex(shaped("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value).replace("-", ""))

def text(value):
    return shaped("(?s:.*)", value).encode("utf-8", "surrogateescape")

def time(value):
    shaped("[0-9]{4}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}[.][0-9]{6}Z", value)
    since = datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ") - datetime.datetime(1970, 1, 1)
    return (since // datetime.timedelta(microseconds=1)).to_bytes(8, "big", signed=True)

INT, LONG, QUOTED, HASH = number(4), number(8), number(8, str), hexadecimal(32)
ENTRY = dict(audit_id=uuid, occurred_at=time, connection_id=uuid, seq=LONG, provider_id=uuid, provider_slug=text,
             action=text, outcome=text, old_status=text, new_status=text, error_code=text, version=INT,
             session_role=text, caller_role=text, origin=INT, transaction_id=QUOTED, attempt_id=QUOTED,
             personal_hash=HASH)
PERSONAL = dict(user_id=uuid, owner_id=uuid, reason=text, application_name=text, client_address=text)
SEAL = dict(previous_hash=HASH, seal_id=LONG, sealed_at=time, origin=INT, row_count=INT, head_count=INT,
            first_id=uuid, last_id=uuid, settled=text, root=HASH)
ZEROS = dict(previous_hash=bytes(32), first_id=bytes(16), last_id=bytes(16))  # what null is in a seal
DIGEST = dict(seal_id="seal_id", sealed_at="sealed_at", rows="row_count", heads="head_count", root="root",
              seal_hash="seal_hash", mac="mac")  # the digest's names, and those in a seal

def members(value, what, *names):
    need(isinstance(value, dict), f"{what} is not a JSON object")
    need(set(value) == set(names), f"{what} lacks, or should not have {sorted(set(value) ^ set(names))!a}")

def fields(value, kinds, nulls={}):
    encoded = [nulls.get(name) if value[name] is None else kinds[name](value[name]) for name in kinds]
    return b"".join(b"\0" if field is None else b"\1" + len(field).to_bytes(4, "big") + field for field in encoded)

# --- what has to hold ---

def check_entry(entry):
    members(entry, "the entry", *ENTRY, "previous_hash", "entry_hash", "personal")
    previous = bytes(32) if entry["previous_hash"] is None else HASH(entry["previous_hash"])
    row = sha256(b"\0\1", previous, fields(entry, ENTRY))
    need(row == HASH(entry["entry_hash"]), "the row is not that of its entry_hash")
    personal = entry["personal"]
    if personal is not None:
        members(personal, "personal", *PERSONAL, "salt")
        commitment = sha256(hexadecimal(16)(personal["salt"]), fields(personal, PERSONAL))
        need(commitment == HASH(entry["personal_hash"]), "the personal values are not those of personal_hash")

def check_path(node, index, size, path, root):
    need(LONG(index) and LONG(size) and 0 <= index < size and isinstance(path, list), "there is no such leaf")
    path = [HASH(step) for step in path]
    while size > 1:
        if index % 2 or index + 1 < size:
            need(path, "audit_path is too short")
            node = sha256(b"\1", path.pop(0), node) if index % 2 else sha256(b"\1", node, path.pop(0))
        index, size = index // 2, (size + 1) // 2
    need(not path and node == root, "audit_path does not lead to the root")

def check_seal(seal):
    members(seal, "a seal", *SEAL, "seal_hash", "mac")
    seal_hash = sha256(b"\2\1", fields(seal, SEAL, ZEROS))
    need(seal_hash == HASH(seal["seal_hash"]), f"seal {seal['seal_id']} is not that of its seal_hash")

def check(digest, proof, seals):
    members(digest, "the digest", "format", *DIGEST)
    members(proof, "the proof", "format", "entry", "leaf_index", "tree_size", "audit_path", "seal")
    need(INT(digest["format"]) == INT(proof["format"]) == INT(1), "this is not of format 1")
    entry, seal, size = proof["entry"], proof["seal"], proof["tree_size"]
    check_entry(entry)
    check_seal(seal)
    need(size == seal["row_count"] + seal["head_count"], "tree_size is not that of the seal")
    check_path(HASH(entry["entry_hash"]), proof["leaf_index"], size, proof["audit_path"], HASH(seal["root"]))
    LONG(digest["seal_id"])
    need(digest["seal_id"] >= seal["seal_id"], "the digest is of a seal before that of the proof")
    last, given = seal, {other["seal_id"]: other for other in seals}
    while last["seal_id"] < digest["seal_id"]:
        before, last = last, given.get(last["seal_id"] + 1)
        need(last, f"seal {before['seal_id'] + 1} is needed, too")
        check_seal(last)
        need(last["previous_hash"] == before["seal_hash"], f"seal {last['seal_id']} does not follow the one before it")
    for name in DIGEST:
        need(json.dumps(digest[name]) == json.dumps(last[DIGEST[name]]), f"the digest has another {name}")
    return (f"row {entry['audit_id']} of {entry['occurred_at']}, {entry['action']!a} {entry['outcome']!a}, is in seal"
            f" {seal['seal_id']} of {seal['sealed_at']}, as the digest of seal {last['seal_id']} confirms; its"
            f" personal values are {'not in the proof' if entry['personal'] is None else 'in the proof'}")

def load(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        rest = file.read().strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip()
        yield value

def main(arguments):
    try:
        need(len(arguments) > 1, "usage: audit_proof.py DIGEST.json PROOF.json [SEALS.json ...]")
        (digest,), (proof,) = load(arguments[0]), load(arguments[1])
        print("ok:", check(digest, proof, [seal for path in arguments[2:] for seal in load(path)]))
        return 0
    except Exception as failure:
        print("FAILED:", str(failure).encode("ascii", "backslashreplace").decode())
        return 1

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
