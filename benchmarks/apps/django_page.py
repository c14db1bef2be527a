"""A Django page: twenty of two hundred entries from SQLite, through the ORM and a template.

The database is a file of this process, made and seeded at import; what fork inherits is its path.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

DIRECTORY = Path(tempfile.mkdtemp(prefix="bench-django-"))
MAKER = os.getpid()


@atexit.register
def _remove() -> None:
    if os.getpid() == MAKER:  # not a worker that was forked from it
        shutil.rmtree(DIRECTORY, ignore_errors=True)


PAGE = """<!doctype html><title>{{ count }} entries</title><ul>
{% for entry in entries %}<li>{{ entry.author }}: {{ entry.text|truncatewords:5 }}
({{ entry.stars }} star{{ entry.stars|pluralize }})</li>
{% empty %}<li>nothing</li>{% endfor %}</ul>
"""
LOADER = ("django.template.loaders.locmem.Loader", {"page.html": PAGE})
settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="benchmark",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DIRECTORY / "book.sqlite3"}},
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.cached.Loader", [LOADER])]},
        }
    ],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()


class Entry(models.Model):
    """A line in a guest book."""

    author = models.CharField(max_length=40)
    text = models.TextField()
    stars = models.IntegerField()

    class Meta:
        app_label = "book"


def _seed() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Entry)
    Entry.objects.bulk_create(
        Entry(author=f"Guest {n}", text=f"Entry {n} of the book & more words", stars=n % 5 + 1)
        for n in range(200)
    )
    connection.close()


def book(request: HttpRequest) -> HttpResponse:
    entries = Entry.objects.filter(stars__gte=2).order_by("-id")
    return render(request, "page.html", {"entries": entries[:20], "count": entries.count()})


_seed()
urlpatterns = [path("", book)]
application = get_wsgi_application()
