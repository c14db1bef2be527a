"""Events as the services send them, one of each shape."""

from __future__ import annotations

import base64
import copy
from typing import Any

BODY = b'{"name": "caf\xc3\xa9"}'

APIGATEWAY_V1: dict[str, Any] = {
    "resource": "/{proxy+}",
    "path": "/shop/caf%C3%A9 x",
    "httpMethod": "POST",
    "headers": {"Host": "api.example.com", "Content-Type": "application/json", "X-Two": "last"},
    "multiValueHeaders": {
        "Host": ["api.example.com"],
        "Content-Type": ["application/json"],
        "X-Two": ["first", "last"],
        "Cookie": ["a=1; b=2"],
    },
    "queryStringParameters": {"q": "b", "e": ""},
    "multiValueQueryStringParameters": {"q": ["a", "b"], "e": [""]},
    "requestContext": {"stage": "prod", "identity": {"sourceIp": "192.0.2.7"}, "requestId": "r"},
    "body": BODY.decode(),
    "isBase64Encoded": False,
}
HTTP_V1: dict[str, Any] = {**APIGATEWAY_V1, "version": "1.0"}
HTTP_V2: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/shop/café",
    "rawQueryString": "q=a&q=b&e=",
    "cookies": ["a=1", "b=2"],
    "headers": {"host": "x.lambda-url.local", "content-type": "application/json", "x-two": "first,last"},
    "queryStringParameters": {"q": "a,b", "e": ""},
    "requestContext": {
        "http": {
            "method": "POST",
            "path": "/shop/café",
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.7",
            "userAgent": "test",
        },
        "requestId": "r",
        "stage": "$default",
        "timeEpoch": 1,
    },
    "body": base64.b64encode(BODY).decode(),
    "isBase64Encoded": True,
}
ALB: dict[str, Any] = {
    "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
    "httpMethod": "POST",
    "path": "/shop/caf%C3%A9",
    "queryStringParameters": {"q": "a%20b"},
    "headers": {
        "host": "lb.example.com",
        "content-type": "application/json",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    },
    "body": BODY.decode(),
    "isBase64Encoded": False,
}
ALB_MULTI: dict[str, Any] = {
    "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
    "httpMethod": "POST",
    "path": "/shop/caf%C3%A9",
    "multiValueQueryStringParameters": {"q": ["a", "b%20c"]},
    "multiValueHeaders": {
        "host": ["lb.example.com"],
        "content-type": ["application/json"],
        "x-two": ["first", "last"],
        "x-forwarded-for": ["192.0.2.7"],
    },
    "body": BODY.decode(),
    "isBase64Encoded": False,
}
CLOUDFRONT: dict[str, Any] = {
    "Records": [
        {
            "cf": {
                "config": {"distributionId": "E"},
                "request": {
                    "clientIp": "192.0.2.7",
                    "method": "POST",
                    "uri": "/shop/coffee",
                    "querystring": "q=a&q=b",
                    "headers": {
                        "host": [{"key": "Host", "value": "d.cloudfront.net"}],
                        "content-type": [{"key": "Content-Type", "value": "application/json"}],
                    },
                    "body": {
                        "action": "read-only",
                        "data": base64.b64encode(BODY).decode(),
                        "encoding": "base64",
                        "inputTruncated": False,
                    },
                },
            }
        }
    ]
}
FC_HTTP: dict[str, Any] = {
    "version": "v1",
    "rawPath": "/shop/caf%C3%A9",
    "body": base64.b64encode(BODY).decode(),
    "isBase64Encoded": True,
    "headers": {"Host": "x.fcapp.run", "Content-Type": "application/json", "X-Two": "first,last"},
    "queryParameters": {"q": "a b"},
    "requestContext": {
        "accountId": "1",
        "domainName": "x.fcapp.run",
        "domainPrefix": "x",
        "http": {
            "method": "POST",
            "path": "/shop/café",
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.7",
            "userAgent": "test",
        },
        "requestId": "r",
        "time": "2026-01-01T00:00:00Z",
        "timeEpoch": "1767225600000",
    },
}

AWS: dict[str, dict[str, Any]] = {
    "apigateway_v1": APIGATEWAY_V1,
    "http_v1": HTTP_V1,
    "http_v2": HTTP_V2,
    "alb": ALB,
    "alb_multi": ALB_MULTI,
    "cloudfront": CLOUDFRONT,
}
SHAPES = {
    "apigateway_v1": "apigateway_v1",
    "http_v1": "apigateway_v1",
    "http_v2": "apigateway_v2",
    "alb": "alb",
    "alb_multi": "alb",
    "cloudfront": "cloudfront",
    "fc_http": "fc_http",
}
ALL = {**AWS, "fc_http": FC_HTTP}


def sample(name: str) -> dict[str, Any]:
    """A copy that may be changed."""
    return copy.deepcopy(ALL[name])
