import re

from django import forms
from django.core.cache import cache
from django.shortcuts import render
from django.urls import path

RX = re.compile("a+")


class F(forms.Form):
    name = forms.CharField(max_length=3)


def index(r):
    r.session["v"] = r.session.get("v", 0) + 1
    f = F(r.GET or None)
    return render(
        r, "i.html", {"f": f, "ok": f.is_valid(), "v": r.session["v"], "c": cache.get_or_set("k", 5)}
    )


urlpatterns = [path("", index)]
