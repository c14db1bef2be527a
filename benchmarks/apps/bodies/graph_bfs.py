"""A breadth-first search of a generated graph, with igraph."""

from body_web import web
from graphs import barabasi


def body() -> str:
    vertices, layers, _parents = barabasi().bfs(0)
    return f"{len(vertices)} {len(layers) - 1}\n"


app = web(body)
