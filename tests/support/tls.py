"""A certificate authority of the tests, for servers on localhost and for their clients."""

import ssl
from pathlib import Path

import trustme


class Authority:
    """``server`` and ``client`` are contexts; ``ca_file`` is for clients in another process."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        path = folder / "ca.pem"
        authority.cert_pem.write_to_path(path)
        self.ca_file = str(path)
