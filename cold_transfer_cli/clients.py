"""Changes the clients secret without losing concurrent changes.

Secrets Manager has no conditional write, but it can move a staging label conditionally: AWSCURRENT
moves to another version only if it is on the version that the request names. So a change is stored
as a new version with a label that no function reads, and becomes current only if the version it is
based on still is. Otherwise the change is made again, based on the current version.

This does not protect against a whole document stored by other means (the AWS console,
`put-secret-value`), which replaces concurrent changes. AWSPREVIOUS has the version before.
"""

import base64
import contextlib
import copy
import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from cold_transfer.auth import clients_secret
from cold_transfer.errors import SecretInvalid
from cold_transfer_cli.failures import OperatorError

#: The kinds of credential: the member of a client's entry that lists them, and what to call one.
CREDENTIALS = {"signing_secrets": "signing secret", "tokens": "token"}

# As long as the HMAC's digest (Standard Webhooks 1.0.0 allows 24 to 64 bytes); 43 characters as a
# token.
RANDOM_BYTES = 32

ROUNDS = 5

type Entry = dict[str, Any]
type Entries = dict[str, Entry]


class _Version(NamedTuple):
    id: str
    entries: Entries


class ClientsSecret:
    """The secret ``name``, through the Secrets Manager client ``manager``.

    kms_key_arn
        The key to encrypt the secret with if it has to be created; empty for the AWS managed key.
    """

    def __init__(self, manager: Any, name: str, kms_key_arn: str = "") -> None:  # noqa: ANN401  boto3 types its clients so
        self._manager = manager
        self._name = name
        self._kms_key = {"KmsKeyId": kms_key_arn} if kms_key_arn else {}

    def entries(self) -> Entries:
        """Each client's entry by name; empty if the secret does not exist.

        Raises
        ------
        OperatorError
            The secret does not have the documented form.
        """
        version = self._current()
        return version.entries if version else {}

    def exists(self) -> bool:
        return self._current() is not None

    def change(self, how: Callable[[Entries], None]) -> None:
        """Apply ``how`` to the entries and store them; create the secret if necessary.

        ``how`` may be called several times, each time with the current entries.

        Raises
        ------
        OperatorError
            ``how`` raised it, the old or new document does not have the documented form, or the
            secret was changed concurrently in every round.
        """
        for _ in range(ROUNDS):
            before = self._current()
            entries = copy.deepcopy(before.entries) if before else {}
            how(entries)
            if before and entries == before.entries:
                return
            text = json.dumps({"clients": entries}, indent=2)
            try:
                clients_secret.parse(text)
            except SecretInvalid as error:
                raise OperatorError(f"Nothing was stored: {error}.") from None
            if self._replace(before, text) if before else self._create(text):
                return
        raise OperatorError(
            f"Nothing was stored: others kept changing the secret {self._name}. Try again."
        )

    def _current(self) -> _Version | None:
        try:
            reply = self._manager.get_secret_value(SecretId=self._name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        text = reply.get("SecretString", "")
        try:
            clients_secret.parse(text)
        except SecretInvalid as error:
            raise OperatorError(
                f"The secret {self._name} is not valid, and the functions refuse it too: {error}."
                " To restore the last valid version, see Secret invalid in the runbook."
            ) from None
        return _Version(str(reply["VersionId"]), json.loads(text)["clients"])

    def _create(self, text: str) -> bool:
        try:
            self._manager.create_secret(Name=self._name, SecretString=text, **self._kms_key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceExistsException":
                raise
            return False
        return True

    def _replace(self, before: _Version, text: str) -> bool:
        """Store ``text``, and make it current if ``before`` still is."""
        mine = str(uuid.uuid4())
        draft = f"cold-transfer-{mine}"
        self._manager.put_secret_value(
            SecretId=self._name, ClientRequestToken=mine, SecretString=text, VersionStages=[draft]
        )
        try:
            self._manager.update_secret_version_stage(
                SecretId=self._name,
                VersionStage="AWSCURRENT",
                MoveToVersionId=mine,
                RemoveFromVersionId=before.id,
            )
        except ClientError:
            # The error code varies. The label shows whether another operator was faster, or whether
            # this was a retry after a lost reply.
            now = self._manager.get_secret_value(SecretId=self._name)["VersionId"]
            if now == before.id:
                raise
            return bool(now == mine)
        finally:
            # AWS deletes versions without labels.
            with contextlib.suppress(ClientError):
                self._manager.update_secret_version_stage(
                    SecretId=self._name, VersionStage=draft, RemoveFromVersionId=mine
                )
        return True


def fresh(kinds: Sequence[str]) -> dict[str, str]:
    """A new random credential of each kind, by the kind's member."""
    made = {
        "signing_secrets": f"whsec_{base64.b64encode(secrets.token_bytes(RANDOM_BYTES)).decode()}",
        "tokens": secrets.token_urlsafe(RANDOM_BYTES),
    }
    return {kind: made[kind] for kind in kinds}


def adding(
    name: str, credentials: Mapping[str, str], phlo_ids: Sequence[str], actions: Sequence[str]
) -> Callable[[Entries], None]:
    """A change that adds a client whose requests must have a key.

    credentials
        From ``fresh``.
    phlo_ids, actions
        What it may use and request; empty for the default: all PHLOs, cold transfers only.

    The change raises ``OperatorError`` if there is a client of this name.
    """
    entry: Entry = {kind: [value] for kind, value in credentials.items()}
    if phlo_ids:
        entry["phlo_ids"] = list(phlo_ids)
    if actions:
        entry["actions"] = list(actions)
    entry["require_key"] = True

    def change(entries: Entries) -> None:
        if name in entries:
            raise OperatorError(
                f"The client {name} already exists. To replace its credentials, use rotate."
            )
        entries[name] = entry

    return change


def kinds_of(name: str, entry: Entry, chosen: Sequence[str]) -> list[str]:
    """The kinds of credential to rotate: those chosen, or all that the client has.

    Raises
    ------
    OperatorError
        The client has none of a chosen kind.
    """
    missing = [CREDENTIALS[kind] for kind in chosen if kind not in entry]
    if missing:
        raise OperatorError(f"The client {name} has no {' and no '.join(missing)}.")
    return list(chosen) or [kind for kind in CREDENTIALS if kind in entry]


def rotating(name: str, credentials: Mapping[str, str]) -> Callable[[Entries], None]:
    """A change that puts new credentials before the old ones, which stay valid.

    The change raises ``OperatorError`` if there is no such client, or a rotation is in progress.
    """

    def change(entries: Entries) -> None:
        entry = entry_of(name, entries)
        for kind, value in credentials.items():
            held = entry.get(kind, [])
            if len(held) != 1:
                # --finish would remove the first new credential together with the old one.
                raise OperatorError(
                    f"The client {name} has {len(held)} {kind.replace('_', ' ')}: a rotation is in"
                    f" progress. Finish it first: cold-transfer clients rotate {name} --finish"
                )
            entry[kind] = [value, *held]

    return change


def finishing(name: str, kinds: Sequence[str]) -> Callable[[Entries], None]:
    """A change that keeps only the newest credential of each of ``kinds``; of all if empty.

    The change raises ``OperatorError`` if there is no such client, or it lacks one of the kinds.
    """

    def change(entries: Entries) -> None:
        entry = entry_of(name, entries)
        for kind in kinds_of(name, entry, kinds):
            entry[kind] = entry[kind][:1]

    return change


def removing(name: str) -> Callable[[Entries], None]:
    """A change that removes a client; it raises ``OperatorError`` if there is no such client."""

    def change(entries: Entries) -> None:
        entry_of(name, entries)
        del entries[name]

    return change


def entry_of(name: str, entries: Entries) -> Entry:
    """The client's entry.

    Raises
    ------
    OperatorError
        There is no such client.
    """
    if name not in entries:
        raise OperatorError(f"There is no client {name}. See: cold-transfer clients list")
    return entries[name]


def described(name: str, entry: Entry) -> str:
    """A client's rights and the number of its credentials, but never a credential."""
    counts = [
        f"{len(entry[kind])} {kind.replace('_', ' ')}" for kind in CREDENTIALS if kind in entry
    ]
    return "\n".join(
        [
            name,
            f"  credentials  {', '.join(counts)}",
            f"  PHLOs        {', '.join(entry.get('phlo_ids', ['all']))}",
            f"  actions      {', '.join(entry.get('actions', ['cold_transfer']))}",
            f"  key          {'required' if entry.get('require_key') else 'not required'}",
        ]
    )
