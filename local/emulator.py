"""MiniStack, the AWS emulator, as a background process of the stack."""

import os
import sys
from functools import partial
from pathlib import Path

from local.daemons import Daemon
from local.ports import free_port
from local.progress import until_ready
from local.waiting import answers

REGION = "us-east-1"
USUAL_PORT = 4566
READY_SECONDS = 40.0

#: Three changes to the emulator.
#:
#: It waits 50 ms for the first line of an invocation's log, and 5 ms for each further one. On a
#: busy machine lines arrive later, and then appear in the log of the next invocation, or never. A
#: longer wait costs 20 ms at the end of an invocation, and a second if it logged nothing.
#:
#: It invokes a rule's target once, and errors are lost. Its asynchronous invocation has retries and
#: dead-letter queues as AWS has, so rules use that here.
#:
#: It unpacks the archives of function and layer, 1,100 files, for every execution environment. Here
#: it unpacks each archive once, and every environment gets a link to that folder.
EMULATOR = """
import hashlib
import json
import os
import tempfile
import threading
import types
import zipfile

from ministack.app import main
from ministack.core import lambda_runtime
from ministack.services import eventbridge, lambda_svc

first_line_wait, idle_confirm, hard_cap = 1.0, 0.02, 2.0
lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = (
    first_line_wait, idle_confirm, hard_cap
)

unpacking = threading.Lock()


class Archive(zipfile.ZipFile):
    def namelist(self):
        return []  # the emulator checks each path

    def extractall(self, path):
        with open(self.filename, "rb") as archive:
            digest = hashlib.file_digest(archive, "sha256").hexdigest()
        unpacked = os.path.join(tempfile.gettempdir(), digest)
        with unpacking:
            if not os.path.isdir(unpacked):
                partial = unpacked + ".partial"
                super().extractall(partial, self.NameToInfo)
                os.rename(partial, unpacked)
        os.rmdir(path)
        os.symlink(unpacked, path)


lambda_runtime.zipfile = types.SimpleNamespace(ZipFile=Archive, BadZipFile=zipfile.BadZipFile)


def invoke_as_aws_does(arn, event):
    function, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if config:
        record = lambda_svc._execution_record_for_config(function, config)
        lambda_svc.invoke_async_with_retry(record, json.loads(event))


eventbridge._dispatch_to_lambda = invoke_as_aws_does
main()
"""


def clean_environment(folder: Path) -> dict[str, str]:
    """An environment without anyone's AWS profile, proxy or PYTHONPATH."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start_emulator(folder: Path, *, trace_port: int, auth: bool, usual_port: bool) -> str:
    """Start the emulator and wait until it answers; returns its endpoint.

    Functions run with the emulator's Python, which must therefore be 3.13, and inherit its
    environment, including the address of the trace sink.

    Raises
    ------
    StackFailed
        It exited, or did not answer within 40 s.
    """
    port = free_port(USUAL_PORT if usual_port else 0)
    environment = clean_environment(folder) | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "IOT_MTLS_PORT": "0",
        "SFTP_ENABLED": "0",
        "AUTH": "true" if auth else "false",
        "MINISTACK_REGION": REGION,
        "LAMBDA_WARM_TTL_SECONDS": "60",  # a burst leaves one worker per request
        "STATE_DIR": str(folder / "tmp" / "state"),
        "S3_DATA_DIR": str(folder / "tmp" / "s3"),
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{trace_port}",
    }
    daemon = Daemon(folder, "emulator")
    daemon.start([sys.executable, "-c", EMULATOR], environment, folder)
    endpoint = f"http://127.0.0.1:{port}"
    ready = partial(answers, f"{endpoint}/_ministack/ready")
    until_ready(daemon, ready, READY_SECONDS, f"the AWS emulator did not start on {endpoint}")
    return endpoint
