#!/usr/bin/env python3
"""Runs a command beside an S3 that others built (moto), which ends with it. The command finds the server's address in
KEYREEL_TEST_S3, and in it a bucket `keyreel`. A command that asks the server for nothing has failed: it tested nothing.

    s3.py COMMAND [ARGUMENT...]
"""

import logging
import os
import subprocess
import sys

import boto3
from moto.server import ThreadedMotoServer


class Count(logging.Handler):
    requests = 0

    def emit(self, _record):
        self.requests += 1


def main() -> int:
    # Every request is a line in this log; nobody needs to read them.
    count, log = Count(), logging.getLogger("werkzeug")
    log.setLevel(logging.INFO)
    log.addHandler(count)
    log.propagate = False
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        s3 = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        s3.create_bucket(Bucket="keyreel")
        before = count.requests
        status = subprocess.run(sys.argv[1:], env=os.environ | {"KEYREEL_TEST_S3": url}).returncode
        if status == 0 and count.requests == before:
            print("error: the command asked the S3 server for nothing", file=sys.stderr)
            return 1
        return status
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
