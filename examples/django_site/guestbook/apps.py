"""The guest book as a Django app."""

from django.apps import AppConfig


class GuestbookConfig(AppConfig):
    """Named for the admin."""

    name = "guestbook"
    verbose_name = "Guest book"
