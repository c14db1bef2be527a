"""Where the guest book's pages are."""

from django.urls import path

from guestbook import views

urlpatterns = [path("", views.book, name="book"), path("entries.json", views.entries, name="entries")]
