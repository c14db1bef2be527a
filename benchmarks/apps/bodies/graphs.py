"""The input of the graph bodies: 5,000 vertices, each of which joins by five edges (Barabási and Albert)."""

import random

import igraph

VERTICES, EDGES = 5000, 5


def barabasi() -> igraph.Graph:
    """A new graph, the same every time."""
    igraph.set_random_number_generator(random.Random(3))
    return igraph.Graph.Barabasi(VERTICES, EDGES)
