"""The admin, and everything else to the guest book."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("", include("guestbook.urls"))]
