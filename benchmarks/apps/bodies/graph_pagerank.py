"""Page rank of a generated graph, with igraph."""

from body_web import web
from graphs import barabasi


def body() -> str:
    ranks = barabasi().pagerank()
    return f"{sum(ranks):.3f} {max(ranks):.6f}\n"


app = web(body)
