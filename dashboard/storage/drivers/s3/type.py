"""The driver type of S3, and presets for the providers that support its protocol."""

from __future__ import annotations

from dashboard.storage.driver_types import DriverType, Options, RcloneRemote
from dashboard.storage.drivers.common.locations import bucket_location, bucket_summary
from dashboard.storage.drivers.s3.credentials.options import machine_credentials_to
from dashboard.storage.drivers.s3.options import (
    S3_OPTIONS,
    SSE,
    SSE_C,
    check_s3,
    check_s3_secrets,
)
from dashboard.storage.options import Option, OptionType, Preset

# Public providers have public certificates; an option that disables their verification would only do harm.
_CERTIFIED = frozenset({"endpoint", "tls_verify", "ca_certificate"})
# Most of them accept only an access key.
_PUBLIC = _CERTIFIED | {"sign_in", "profile", "role_arn", "external_id", "session_name"}
_NO_SSE = frozenset({"sse", "sse_kms_key_id", "sse_customer_key"})
# These encrypt everything with their own keys and have no KMS, but accept a customer-provided key.
_NO_KMS = frozenset({"sse_kms_key_id"})
_SSE_C_ONLY = {"sse": frozenset({"none", "SSE-C"})}


def _rclone(options: Options) -> RcloneRemote:
    values = {
        "type": "s3",
        "provider": "Other" if options.get("endpoint") else "AWS",
        "endpoint": options.get("endpoint", ""),
        "region": options.get("region", ""),
        "access_key_id": options.get("access_key_id", ""),
        "force_path_style": "true" if options.get("path_style") != "false" else "false",
    }
    path = f"{options.get('bucket', '')}/{options.get('prefix', '')}"
    return RcloneRemote(values, path, ("secret_access_key",))


PRESETS = (
    Preset(
        name="aws",
        label="AWS S3",
        driver="s3",
        icon="p-cubes",
        keywords="amazon",
        help="Region and name of the bucket: S3 console, Buckets, your bucket, Properties.\n"
        "Keys: IAM console, Users, a user for Stowage, Security credentials, Create access key.\n"
        "The user needs s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and "
        "s3:AbortMultipartUpload on this bucket.\n"
        "Without a key: under Advanced sign in with this machine's credentials, or with a role.\n"
        "For China, FIPS or VPC endpoints choose “Any S3-compatible”.",
        help_url="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html",
        defaults={"endpoint": "https://s3.{region}.amazonaws.com", "path_style": "false"},
        hidden=_CERTIFIED,
        hints={
            "region": "Where the bucket was created, such as “eu-central-1”.",
            "sse": "Buckets refuse SSE-C until it is allowed: Properties, Default encryption.",
        },
        placeholders={"access_key_id": "AKIA…", "cdn_domain": "d111111abcdef8.cloudfront.net"},
    ),
    Preset(
        name="b2",
        label="Backblaze B2",
        driver="s3",
        icon="bucket",
        keywords="backblaze",
        help="Region: Buckets page, “Endpoint” of your bucket; in s3.us-west-004.backblazeb2.com it is "
        "“us-west-004”.\n"
        "Keys: Application Keys page, Add a New Application Key, with read and write access to this bucket. "
        "The master application key does not work here.\n"
        "The key itself is shown once. For a key limited to one bucket also tick “Allow List All Bucket "
        "Names”.",
        help_url="https://www.backblaze.com/docs/cloud-storage-s3-compatible-app-keys",
        defaults={"endpoint": "https://s3.{region}.backblazeb2.com", "region": ""},
        hidden=_PUBLIC | _NO_KMS | {"session_token", "storage_class", "path_style"},
        choices=_SSE_C_ONLY,
        labels={"access_key_id": "keyID", "secret_access_key": "applicationKey"},
        hints={"region": "The middle of the bucket's endpoint, such as “us-west-004”."},
        placeholders={"region": "us-west-004"},
    ),
    Preset(
        name="minio",
        label="MinIO",
        driver="s3",
        icon="p-hex",
        keywords="self-hosted",
        help="Endpoint: the address of the server's API (port 9000 unless changed), not of its console.\n"
        "Keys: MinIO console, Access Keys, Create access key; or the root user and password.\n"
        "Region: “us-east-1” unless the server was given another one.",
        help_url="https://min.io/docs/minio/linux/administration/identity-access-management/minio-user-management.html",
        labels={"access_key_id": "Access Key", "secret_access_key": "Secret Key"},
        placeholders={"endpoint": "http://127.0.0.1:9000", "role_arn": "arn:minio:iam:::role/stowage"},
        hidden=frozenset({"profile"}),
        choices={"sign_in": frozenset({"key", "role"})},
    ),
    Preset(
        name="r2",
        label="Cloudflare R2",
        driver="s3",
        icon="p-arcs",
        help="Account ID: Cloudflare dashboard, R2 object storage, Overview, under “Account details”.\n"
        "Keys: in the same place, Manage API tokens, Create API token with “Object Read & Write”. Use the "
        "Access Key ID and Secret Access Key it shows once, not the token value.\n"
        "To create buckets from here the token needs “Admin Read & Write”.",
        help_url="https://developers.cloudflare.com/r2/api/tokens/",
        defaults={
            "endpoint": "https://{account_id}{jurisdiction}.r2.cloudflarestorage.com",
            "region": "auto",
        },
        hidden=_PUBLIC | _NO_KMS | {"region", "path_style"},
        choices=_SSE_C_ONLY,
        extra=(
            Option(
                "account_id",
                "Account ID",
                required=True,
                guards_secret=True,
                hint="32 letters and digits; part of every R2 endpoint.",
            ),
            Option(
                "jurisdiction",
                "Jurisdiction",
                OptionType.CHOICE,
                advanced=True,
                choices=(("", "None"), (".eu", "European Union"), (".fedramp", "FedRAMP")),
                guards_secret=True,
                hint="Only for buckets that were created in one.",
            ),
        ),
    ),
    Preset(
        name="spaces",
        label="DigitalOcean Spaces",
        driver="s3",
        icon="p-ring",
        keywords="do",
        help="Region: the first part of the bucket's endpoint; in nyc3.digitaloceanspaces.com it is “nyc3”.\n"
        "Keys: control panel, Spaces Object Storage, Access Keys tab, Create Access Key. The secret is "
        "shown once.",
        help_url="https://docs.digitalocean.com/products/spaces/how-to/manage-access/",
        defaults={"endpoint": "https://{region}.digitaloceanspaces.com", "region": "", "path_style": "false"},
        hidden=_PUBLIC | _NO_KMS | {"session_token", "storage_class"},
        choices=_SSE_C_ONLY,
        labels={"bucket": "Space (bucket)", "access_key_id": "Access Key", "secret_access_key": "Secret Key"},
        hints={"region": "Such as “nyc3”, “ams3” or “fra1”."},
        placeholders={"region": "nyc3", "cdn_domain": "my-space.nyc3.cdn.digitaloceanspaces.com"},
    ),
    Preset(
        name="wasabi",
        label="Wasabi",
        driver="s3",
        icon="p-wave",
        help="Region: Wasabi console, Buckets, the column “Region” of your bucket.\n"
        "Keys: Wasabi console, Access Keys, Create Access Key. The secret is shown once. A sub-user also "
        "needs a policy for this bucket.",
        help_url="https://docs.wasabi.com/docs/access-keys-1",
        defaults={"endpoint": "https://s3.{region}.wasabisys.com"},
        hidden=_PUBLIC | _NO_KMS | {"storage_class"},
        choices=_SSE_C_ONLY,
        labels={"access_key_id": "Access Key", "secret_access_key": "Secret Key"},
        hints={"region": "Where the bucket was created, such as “eu-central-1”."},
    ),
    Preset(
        name="supabase",
        label="Supabase Storage",
        driver="s3",
        icon="database",
        help="Everything is in the project's dashboard under Storage, S3: the project reference is the first "
        "part of the endpoint, the region is next to it.\n"
        "Keys: in the same place, S3 access keys, New access key. They bypass row level security.",
        help_url="https://supabase.com/docs/guides/storage/s3/authentication",
        defaults={"endpoint": "https://{project}.storage.supabase.co/storage/v1/s3", "region": ""},
        hidden=_PUBLIC | _NO_SSE | {"storage_class", "path_style"},
        hints={"region": "The project's region, such as “eu-central-1”."},
        placeholders={"region": "eu-central-1"},
        extra=(
            Option(
                "project",
                "Project reference",
                required=True,
                placeholder="abcdefghijklmnopqrst",
                guards_secret=True,
                hint="20 lowercase letters; the first part of the project's address.",
            ),
        ),
    ),
    Preset(
        name="hetzner",
        label="Hetzner Object Storage",
        driver="s3",
        icon="p-half",
        help="Location: Hetzner Console, your project, Object Storage; it is next to the bucket.\n"
        "Keys: in the same project, Security, S3 credentials, Generate credentials. The secret key is shown "
        "once, and the pair works for every bucket of the project.",
        help_url="https://docs.hetzner.com/storage/object-storage/getting-started/generating-s3-keys",
        defaults={"endpoint": "https://{region}.your-objectstorage.com", "region": ""},
        hidden=_PUBLIC | _NO_SSE | {"session_token", "storage_class", "path_style"},
        labels={"region": "Location", "access_key_id": "Access key", "secret_access_key": "Secret key"},
        hints={"region": "“fsn1”, “nbg1” or “hel1”; the first part of the bucket's endpoint."},
        placeholders={"region": "fsn1"},
    ),
    Preset(
        name="scaleway",
        label="Scaleway Object Storage",
        driver="s3",
        icon="p-dia",
        help="Region: Scaleway console, Object Storage, your bucket, Bucket settings.\n"
        "Keys: Scaleway console, IAM, API keys, Generate API key. Say that it will be used for Object "
        "Storage and choose the bucket's project as the preferred one. The secret key is shown once.",
        help_url="https://www.scaleway.com/en/docs/iam/api-cli/using-api-key-object-storage/",
        defaults={"endpoint": "https://s3.{region}.scw.cloud", "region": ""},
        hidden=_PUBLIC | _NO_KMS | {"session_token", "path_style"},
        choices=_SSE_C_ONLY,
        labels={"secret_access_key": "Secret key"},
        hints={
            "region": "“fr-par”, “nl-ams”, “pl-waw” or “it-mil”.",
            "storage_class": "STANDARD or ONEZONE_IA; blank leaves it to Scaleway. What is written as "
            "GLACIER cannot be read back at once.",
        },
        placeholders={"region": "fr-par", "access_key_id": "SCW…"},
    ),
    Preset(
        name="gcs_interop",
        label="Google Cloud Storage (interoperability)",
        driver="s3",
        icon="p-tri",
        keywords="gcp hmac",
        help="If you have an HMAC key but no service account key; otherwise choose “Google Cloud Storage”, "
        "which compares Google's own checksums and keeps files that are stored compressed as they are.\n"
        "Key: Google Cloud console, Cloud Storage, Settings, Interoperability, Create a key for a service "
        "account. The secret is shown once.\n"
        "The service account needs the role Storage Object User on the bucket.",
        help_url="https://cloud.google.com/storage/docs/authentication/managing-hmackeys",
        defaults={"endpoint": "https://storage.googleapis.com", "region": "auto"},
        hidden=_PUBLIC | _NO_SSE | {"region", "session_token", "path_style", "storage_class"},
        labels={"access_key_id": "Access key", "secret_access_key": "Secret"},
        placeholders={"access_key_id": "GOOG1E…"},
    ),
    Preset(
        name="s3",
        label="Any S3-compatible",
        driver="s3",
        icon="box",
        keywords="seaweedfs ceph garage ovh ionos",
        last=True,
        help="Any server that speaks the S3 API: SeaweedFS, Ceph, Garage, OVHcloud, IONOS and "
        "others.\n"
        "Endpoint, region and keys are in the provider's pages about S3, often called “S3 credentials”.",
    ),
)


S3 = DriverType(
    "s3",
    "dashboard.storage.drivers.s3.driver:S3Driver.from_options",
    S3_OPTIONS,
    check_s3,
    check_s3_secrets,
    presets=PRESETS,
    family="Object storage",
    noun="bucket",
    summary=bucket_summary,
    location=bucket_location,
    rclone=_rclone,
    own_key=(SSE, SSE_C),
    machine_credentials_to=machine_credentials_to,
)
