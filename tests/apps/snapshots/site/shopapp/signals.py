from django.db.models.signals import post_save
from django.dispatch import receiver

from .models import Item

SEEN = []


@receiver(post_save, sender=Item)
def saved(sender, instance, **k):
    SEEN.append(instance.name)
