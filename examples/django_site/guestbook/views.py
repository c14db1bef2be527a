"""The book: read it, sign it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from guestbook.models import Entry

ENTRIES_PER_PAGE = 10


class EntryForm(forms.ModelForm):
    """What a guest may fill in."""

    class Meta:
        model = Entry
        fields = ("name", "text")
        widgets = {"text": forms.Textarea(attrs={"rows": 3})}


def book(request: HttpRequest) -> HttpResponse:
    form = EntryForm(request.POST or None)
    if form.is_valid():
        form.save()
        messages.success(request, "Thank you for signing!")
        return redirect("book")
    page = Paginator(Entry.objects.all(), ENTRIES_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "guestbook/book.html", {"form": form, "page": page})


@require_safe
def entries(request: HttpRequest) -> JsonResponse:
    """All entries for programs, newest first."""
    return JsonResponse({"entries": list(Entry.objects.values("name", "text"))})
