"""``make s3``: an S3 server on this machine with a bucket, and the variables that programs set for it."""

from __future__ import annotations

import signal
import sys

from tests.servers.seaweedfs import SeaweedFS

BUCKET = "media"


def main() -> None:
    """Serve until Ctrl-C. Everything in it is gone afterwards."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with SeaweedFS() as server:
        server.client().create_bucket(Bucket=BUCKET)
        for name, value in {
            "AWS_ACCESS_KEY_ID": server.admin.access_key,
            "AWS_SECRET_ACCESS_KEY": server.admin.secret_key,
            "AWS_STORAGE_BUCKET_NAME": BUCKET,
            "AWS_S3_ENDPOINT_URL": server.endpoint,
            "AWS_S3_REGION_NAME": "us-east-1",
        }.items():
            print(f"export {name}={value}")
        print("# Ctrl-C stops the server and deletes what it holds.", file=sys.stderr, flush=True)
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
