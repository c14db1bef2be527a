"""Views that ask the database."""

from __future__ import annotations

import os

from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path


def ready(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"users": User.objects.count()})


def mine(request: HttpRequest, number: int) -> JsonResponse:
    """What the database answers to a question that only this request asks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::bigint, pg_backend_pid(), pg_sleep(0.002)", [number])
        row = cursor.fetchone()
    return JsonResponse({"database": row[0], "backend": row[1], "pid": os.getpid()})


urlpatterns = [path("", ready), path("mine/<int:number>", mine)]
