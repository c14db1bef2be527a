"""Dynamic HTML: a Jinja page with a list of a thousand numbers."""

import random

from body_web import web
from jinja2 import Template

PAGE = Template("<h1>{{ name }}</h1><ul>{% for n in numbers %}<li>{{ n }}</li>{% endfor %}</ul>")


def body() -> str:
    source = random.Random(1)
    return PAGE.render(name="visitor", numbers=[source.randrange(10**6) for _ in range(1000)])


app = web(body)
