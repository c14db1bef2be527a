"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from backing import http_url, postgres_port, redis_port

__all__ = ["http_url", "postgres_port", "redis_port"]
