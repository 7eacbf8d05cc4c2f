"""Print a fresh entry for the clients secret: what ``make client NAME=crm`` runs.

The entry goes to standard output, and what to do with it to standard error, so that the first can
be piped. Nothing is written to disk and nothing is sent anywhere.
"""

import argparse
import base64
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

LAYER = Path(__file__).resolve().parent.parent / "layers" / "cold_transfer"

# 32 bytes: as long as the HMAC's digest, so neither is weaker than the other (Standard Webhooks
# 1.0.0 allows 24 to 64), and 43 characters as a token.
RANDOM_BYTES = 32

SECRET = "plivo-cold-transfer/clients"  # noqa: S105 - the name of a secret

_WRAPPED = 'import json; print(json.dumps({"clients": json.load(open("entry.json"))}))'
_READ = "--query SecretString --output text > clients.json"

NEXT = f"""\
The first client (umask 077; this in entry.json):
  python3 -c '{_WRAPPED}' > clients.json
  aws secretsmanager create-secret --name {SECRET} --secret-string file://clients.json
A further one (put it beside the others under "clients" in clients.json):
  aws secretsmanager get-secret-value --secret-id {SECRET} {_READ}
  aws secretsmanager put-secret-value --secret-id {SECRET} --secret-string file://clients.json
Then delete the files."""


def entry(*, signed: bool, token: bool, phlo_ids: Sequence[str] = ()) -> dict[str, list[str]]:
    """A client's entry with new random credentials: a signing secret, a token, or both."""
    made: dict[str, list[str]] = {}
    if signed:
        key = base64.b64encode(secrets.token_bytes(RANDOM_BYTES)).decode("ascii")
        made["signing_secrets"] = [f"whsec_{key}"]
    if token:
        made["tokens"] = [secrets.token_urlsafe(RANDOM_BYTES)]
    if phlo_ids:
        made["phlo_ids"] = list(phlo_ids)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="client", description="Print a fresh entry for the clients secret."
    )
    parser.add_argument("name", metavar="NAME", help="the client, for example crm")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--signed", action="store_true", help="a signing secret only")
    kind.add_argument("--token", action="store_true", help="a token only (Bearer, Basic)")
    parser.add_argument(
        "--phlo-id", action="append", default=[], help="limit it to this PHLO; may be repeated"
    )
    asked = parser.parse_args(arguments)

    made = {
        asked.name: entry(signed=not asked.token, token=not asked.signed, phlo_ids=asked.phlo_id)
    }
    fault = _fault(made)
    if fault:
        parser.error(fault)
    print(json.dumps(made, indent=2))
    print(NEXT, file=sys.stderr)
    return 0


def _fault(made: dict[str, dict[str, list[str]]]) -> str | None:
    """What the deployed functions would say to such a secret: their own parser judges it."""
    sys.path.insert(0, str(LAYER))  # run as a command, only the repository's root is on the path
    from cold_transfer.auth.clients import Clients  # noqa: PLC0415 - found only now
    from cold_transfer.errors import SecretInvalid  # noqa: PLC0415 - the same

    try:
        Clients.parse(json.dumps({"clients": made}))
    except SecretInvalid as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
