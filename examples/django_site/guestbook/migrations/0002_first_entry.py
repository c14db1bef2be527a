"""A first entry, so that the book is not empty."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

NAME = "The inn"


def write(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("guestbook", "Entry").objects.create(name=NAME, text="Welcome! Leave a line or two.")


def remove(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("guestbook", "Entry").objects.filter(name=NAME).delete()


class Migration(migrations.Migration):
    dependencies = [("guestbook", "0001_initial")]
    operations = [migrations.RunPython(write, remove)]
