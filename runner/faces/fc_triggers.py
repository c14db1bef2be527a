"""FC's operations on triggers and custom domains."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from snapfork.runner.faces.auth import permit_watching
from snapfork.runner.faces.fc_call import Answer, Call, Desk, Handler, listed
from snapfork.runner.faces.fc_errors import invalid
from snapfork.runner.faces.fc_names import iso
from snapfork.runner.faces.fc_words import sentence
from snapfork.runner.faces.model import Api
from snapfork.runner.faces.shapes import Violation, WrongType, convert
from snapfork.runner.registry.model import LATEST, CustomDomain, Trigger

CONFIGS = {"http": "HTTPTriggerConfig", "oss": "OSSTriggerConfig", "timer": "TimerTriggerConfig"}
"""The kinds of triggers that are offered, and the shapes of their configurations."""
BESIDE = ("sourceArn", "invocationRole")
"""Members of a trigger that are kept in its configuration."""
DIRECTORY = ("directory", "bucket")
"""What an OSS trigger's configuration may say here beyond FC's members."""
DOMAIN_EXTRA = ("authConfig", "certConfig", "corsConfig", "tlsConfig", "wafConfig")


class Triggers:
    """Trigger configurations travel as JSON texts inside JSON; `api` knows their shapes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create(self, desk: Desk, call: Call) -> Answer:
        members = call.body
        kind = members["triggerType"]
        if kind not in CONFIGS:
            raise invalid(f"triggerType '{kind}' is not supported: {', '.join(CONFIGS)} are.")
        config = self._config(kind, members["triggerConfig"])
        beside = {name: members[name] for name in BESIDE if members.get(name)}
        if kind == "oss":
            permit_watching(call.key)
            config |= _watched(members.get("sourceArn", ""), config)
        trigger = await desk.operations.trigger_create(
            call.function,
            members["triggerName"],
            kind,
            {**config, **beside},
            members.get("qualifier", ""),
            members.get("description", ""),
        )
        return shown(desk, trigger)

    async def update(self, desk: Desk, call: Call) -> Answer:
        members, name = call.body, call.values["trigger_name"]
        config = None
        if "triggerConfig" in members or members.get("invocationRole"):
            before = desk.operations.trigger_get(call.function, name)
            beside = {name: before.config[name] for name in BESIDE if name in before.config}
            if members.get("invocationRole"):
                beside["invocationRole"] = members["invocationRole"]
            said = {name: value for name, value in before.config.items() if name not in BESIDE}
            if "triggerConfig" in members:
                kept = {name: said[name] for name in DIRECTORY if name in said}
                said = kept | self._config(before.kind, members["triggerConfig"])
                if said.get("directory") != before.config.get("directory"):
                    permit_watching(call.key)
            config = {**said, **beside}
        return shown(
            desk,
            await desk.operations.trigger_update(
                call.function, name, config, members.get("qualifier"), members.get("description")
            ),
        )

    async def get(self, desk: Desk, call: Call) -> Answer:
        return shown(desk, desk.operations.trigger_get(call.function, call.values["trigger_name"]))

    async def list(self, desk: Desk, call: Call) -> Answer:
        found, after = desk.operations.trigger_list(
            call.function, call.values.get("prefix", ""), call.start, call.limit
        )
        return listed("triggers", [shown(desk, one) for one in found], after)

    async def delete(self, desk: Desk, call: Call) -> Answer:
        await desk.operations.trigger_delete(call.function, call.values["trigger_name"])
        return None

    def _config(self, kind: str, text: str) -> dict[str, Any]:
        """A trigger's configuration out of its JSON text. Raises FcError."""
        found: list[Violation] = []
        try:
            said = json.loads(text)
            config: dict[str, Any] = convert(self._api.shape(CONFIGS[kind]), said, ("triggerConfig",), found)
        except WrongType as error:
            raise invalid(str(error)) from None
        except (ValueError, RecursionError):
            raise invalid("triggerConfig is not JSON.") from None
        if found:
            raise invalid(sentence(found[0]))
        return config | {name: said[name] for name in DIRECTORY if kind == "oss" and said.get(name)}


def _watched(source: str, config: dict[str, Any]) -> dict[str, Any]:
    """The directory behind an OSS trigger: `directory` in its config, or sourceArn file:///DIRECTORY. A
    bucket's ARN in sourceArn tells what events call it. Raises FcError."""
    watched: dict[str, Any] = {}
    if source.startswith("file:///"):
        watched["directory"] = unquote(source.removeprefix("file://"))
    elif (bucket := source.rpartition(":")[2]) and source.startswith("acs:oss:"):
        watched["bucket"] = bucket
    if "directory" not in {**watched, **config}:
        raise invalid(
            "An oss trigger watches a directory here: name it as sourceArn file:///PATH,"
            " or as triggerConfig.directory."
        )
    return {**watched, **{name: config[name] for name in DIRECTORY if name in config}}


def shown(desk: Desk, trigger: Trigger) -> dict[str, Any]:
    """A trigger as FC's Trigger."""
    config = {name: value for name, value in trigger.config.items() if name not in BESIDE}
    members = {
        "triggerId": trigger.id,
        "triggerName": trigger.name,
        "triggerType": trigger.kind,
        "triggerConfig": json.dumps(config),
        "qualifier": trigger.qualifier or LATEST,
        "description": trigger.description,
        "targetArn": desk.place.function(trigger.function, trigger.qualifier),
        "sourceArn": trigger.config.get("sourceArn", ""),
        "invocationRole": trigger.config.get("invocationRole", ""),
        "status": "Active" if trigger.enabled else "Inactive",
        "createdTime": iso(trigger.created),
        "lastModifiedTime": iso(trigger.modified),
    }
    if trigger.kind == "http":
        url = desk.address(trigger.function, trigger.qualifier)
        members["httpTrigger"] = {"urlInternet": url, "urlIntranet": url}
    return members


async def create_domain(desk: Desk, call: Call) -> Answer:
    members = call.body
    domain = await desk.operations.domain_create(
        members["domainName"],
        members.get("protocol", "HTTP"),
        _routes(members) or [],
        _extra(members),
    )
    return domain_shown(desk, domain)


async def update_domain(desk: Desk, call: Call) -> Answer:
    members, name = call.body, call.values["domain_name"]
    before = desk.operations.domain_get(name)
    domain = await desk.operations.domain_update(
        name, members.get("protocol"), _routes(members), {**before.extra, **_extra(members)}
    )
    return domain_shown(desk, domain)


async def get_domain(desk: Desk, call: Call) -> Answer:
    return domain_shown(desk, desk.operations.domain_get(call.values["domain_name"]))


async def list_domains(desk: Desk, call: Call) -> Answer:
    found, after = desk.operations.domain_list(call.values.get("prefix", ""), call.start, call.limit)
    return listed("customDomains", [domain_shown(desk, one) for one in found], after)


async def delete_domain(desk: Desk, call: Call) -> Answer:
    await desk.operations.domain_delete(call.values["domain_name"])
    return None


def domain_shown(desk: Desk, domain: CustomDomain) -> dict[str, Any]:
    """A domain as FC's CustomDomain."""
    routes = [
        {
            "path": route["path"],
            "functionName": route["function"],
            "qualifier": route.get("qualifier") or LATEST,
            "methods": list(route.get("methods") or ()),
        }
        for route in domain.routes
    ]
    return {
        "domainName": domain.name,
        "protocol": domain.protocol,
        "routeConfig": {"routes": routes},
        "accountId": desk.place.account,
        "apiVersion": "2023-03-30",
        "createdTime": iso(domain.created),
        "lastModifiedTime": iso(domain.modified),
        **domain.extra,
    }


def _routes(members: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The registry's routes of a RouteConfig; None where nothing was said."""
    config = members.get("routeConfig")
    if config is None:
        return None
    return [
        {
            "path": route["path"],
            "function": route["functionName"],
            "qualifier": route.get("qualifier", ""),
            "methods": route.get("methods", []),
            "rewrite": {kind: rules for kind, rules in route.get("rewriteConfig", {}).items() if rules},
        }
        for route in config.get("routes", ())
    ]


def _extra(members: dict[str, Any]) -> dict[str, Any]:
    """What is kept beside protocol and routes; a certificate's private key never is."""
    auth = members.get("authConfig", {}).get("authType", "anonymous")
    if auth not in ("anonymous", "function"):
        raise invalid(f"authConfig.authType '{auth}' is not supported: anonymous and function are.")
    if members.get("wafConfig", {}).get("enableWAF"):
        raise invalid("wafConfig is not supported: there is no web application firewall.")
    extra = {name: dict(members[name]) for name in DOMAIN_EXTRA if members.get(name)}
    extra.get("certConfig", {}).pop("privateKey", None)
    return extra


def handlers(api: Api) -> dict[str, Handler]:
    """The operations; `api` for the shapes of triggers' configurations."""
    triggers = Triggers(api)
    return {
        "CreateCustomDomain": create_domain,
        "CreateTrigger": triggers.create,
        "DeleteCustomDomain": delete_domain,
        "DeleteTrigger": triggers.delete,
        "GetCustomDomain": get_domain,
        "GetTrigger": triggers.get,
        "ListCustomDomains": list_domains,
        "ListTriggers": triggers.list,
        "UpdateCustomDomain": update_domain,
        "UpdateTrigger": triggers.update,
    }
