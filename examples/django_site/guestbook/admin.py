"""Entries in the admin."""

from django.contrib import admin

from guestbook.models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    """Searchable, newest first."""

    list_display = ("name", "text", "written")
    list_filter = ("written",)
    search_fields = ("name", "text")
