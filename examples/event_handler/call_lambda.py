"""Deploys words.py by boto3 and calls it, as it would AWS: `eval "$(runner key env)"` says where.

python examples/event_handler/call_lambda.py
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import boto3

NAME = "words-by-boto3"


def package():
    """The handler as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.write(Path(__file__).with_name("words.py"), "words.py")
    return buffer.getvalue()


client = boto3.client("lambda")
try:
    client.create_function(
        FunctionName=NAME,
        Runtime=f"python3.{sys.version_info[1]}",
        Handler="words.handler",
        Role="arn:aws:iam::000000000000:role/any",  # the API wants one; keys decide here
        Code={"ZipFile": package()},
    )
except client.exceptions.ResourceConflictException:
    client.update_function_code(FunctionName=NAME, ZipFile=package())
client.get_waiter("function_updated_v2").wait(FunctionName=NAME, WaiterConfig={"Delay": 1})

event = json.dumps({"text": "A rose is a rose is a rose"})
answer = client.invoke(FunctionName=NAME, Payload=event)
print(answer["StatusCode"], json.load(answer["Payload"]))

answer = client.invoke(FunctionName=NAME, Payload=json.dumps({"no text": 1}))
print(answer["FunctionError"], json.load(answer["Payload"])["errorType"])

answer = client.invoke(FunctionName=NAME, Payload=event, InvocationType="Event")
print(answer["StatusCode"], "queued as", answer["ResponseMetadata"]["RequestId"])
