"""A minimum spanning tree of a generated graph, with igraph."""

from body_web import web
from graphs import barabasi


def body() -> str:
    return f"{barabasi().spanning_tree().ecount()}\n"


app = web(body)
