"""What guests leave behind."""

from django.db import models


class Entry(models.Model):
    """One entry in the book."""

    name = models.CharField(max_length=60)
    text = models.TextField("message", max_length=500)
    written = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-written", "-id"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.name}: {self.text[:40]}"
