"""PostgreSQL with CONN_MAX_AGE, and what a project has at least."""

from __future__ import annotations

import os

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_postgres.urls"
WSGI_APPLICATION = "site_postgres.wsgi.application"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["POSTGRES_PORT"],
        "USER": "postgres",
        "NAME": "postgres",
        "CONN_MAX_AGE": 600,
    }
}
USE_TZ = True
