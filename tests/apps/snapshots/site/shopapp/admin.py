from django.contrib import admin

from .models import Item


@admin.register(Item)
class A(admin.ModelAdmin):
    list_display = ["name", "price"]
