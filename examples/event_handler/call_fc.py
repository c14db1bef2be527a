"""Deploys words.py by the SDK of Alibaba FC and calls it: `eval "$(runner key env)"` says where.

python examples/event_handler/call_fc.py
"""

import base64
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config

NAME = "words-by-fc"
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as archive:
    archive.write(Path(__file__).with_name("words.py"), "words.py")
code = models.InputCodeLocation(zip_file=base64.b64encode(buffer.getvalue()).decode())

client = Client(
    Config(
        endpoint=urlsplit(os.environ["SNAPFORK_URL"]).netloc,
        protocol="http",
        region_id="us-east-1",
        access_key_id=os.environ["SNAPFORK_KEY_ID"],
        access_key_secret=os.environ["SNAPFORK_KEY_SECRET"],
    )
)
there = client.list_functions(models.ListFunctionsRequest(prefix=NAME)).body.functions
if not there:
    body = models.CreateFunctionInput(
        function_name=NAME,
        runtime=f"python3.{sys.version_info[1]}",
        handler="words.handler",
        code=code,
        timeout=10,
    )
    client.create_function(models.CreateFunctionRequest(body=body))
else:
    client.update_function(NAME, models.UpdateFunctionRequest(body=models.UpdateFunctionInput(code=code)))

event = json.dumps({"text": "A rose is a rose is a rose"}).encode()
answer = client.invoke_function(NAME, models.InvokeFunctionRequest(body=io.BytesIO(event)))
print(answer.status_code, answer.body.read().decode())
