"""AWS as boto3 sees it: calls an endpoint with each operation that Steno uses, and prints what came back as one JSON object.

Arguments: endpoint, bucket, stream, role, token. Credentials come from the environment.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, bucket, stream, role, token = sys.argv[1:]
config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


def client(service, **more):
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", config=config, **more)


def refused(call, **arguments):
    try:
        call(**arguments)
        return None
    except ClientError as error:
        return error.response["Error"]["Code"]


def put(firehose, count):
    answer = firehose.put_record_batch(DeliveryStreamName=stream, Records=[{"Data": b"record %d;" % at} for at in range(count)])
    return {
        "failed": answer["FailedPutCount"],
        "records": ["id" if each.get("RecordId") else each.get("ErrorCode") for each in answer["RequestResponses"]],
    }


firehose, s3, sts = client("firehose"), client("s3"), client("sts")
found = {"put": put(firehose, 3)}
found["no such stream"] = refused(firehose.put_record_batch, DeliveryStreamName="nobody", Records=[{"Data": b"x"}])

for key, body in [("v/a", b"oldest"), ("v/a", b"0123456789"), ("v/b", b"hidden")]:
    s3.put_object(Bucket=bucket, Key=key, Body=body)
s3.delete_object(Bucket=bucket, Key="v/b")
pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix="v/", PaginationConfig={"PageSize": 1}))
versions = [each for page in pages for each in page.get("Versions", [])]
found["versions"] = [[each["Key"], each["Size"], each["IsLatest"]] for each in versions]
found["markers"] = [each["Key"] for page in pages for each in page.get("DeleteMarkers", [])]
found["pages"] = len(pages)
found["oldest"] = s3.get_object(Bucket=bucket, Key="v/a", VersionId=versions[1]["VersionId"])["Body"].read().decode()
ranged = s3.get_object(Bucket=bucket, Key="v/a", Range="bytes=2-4")
found["range"] = [ranged["Body"].read().decode(), ranged["ContentRange"]]
found["past the end"] = refused(s3.get_object, Bucket=bucket, Key="v/a", Range="bytes=100-200")
found["no such key"] = refused(s3.get_object, Bucket=bucket, Key="v/none")
found["no such bucket"] = refused(s3.list_object_versions, Bucket="nobody")

arguments = {"RoleArn": role, "RoleSessionName": "contract"}
given = sts.assume_role_with_web_identity(WebIdentityToken=token, **arguments)["Credentials"]
taken = client("firehose", aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"])
found["put with the role"] = put(taken, 1)
found["forged token"] = refused(sts.assume_role_with_web_identity, WebIdentityToken=token[:-4] + "AAAA", **arguments)
print(json.dumps(found))
