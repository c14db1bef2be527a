"""The sliding puzzle of eight tiles. All 181,440 boards are solved at start-up, which takes a second or more.

runner serve puzzle:app --app-dir examples/flask_puzzle
gunicorn --chdir examples/flask_puzzle puzzle:app

Stopped and started again, `runner serve` has the solved boards from the snapshot that it kept.
"""

from __future__ import annotations

import random

from flask import Flask, abort, jsonify, render_template

SOLVED = "123456780"  # row by row; 0 is the gap
NEIGHBOURS = ((1, 3), (0, 2, 4), (1, 5), (0, 4, 6), (1, 3, 5, 7), (2, 4, 8), (3, 7), (4, 6, 8), (5, 7))
UNREACHABLE = 255


def number(board: str) -> int:
    """The board's place among all 9! arrangements, in the order of a dictionary."""
    left = "012345678"
    place = 0
    for tile in board:
        at = left.index(tile)
        place = place * len(left) + at
        left = left[:at] + left[at + 1 :]
    return place


def moves(board: str) -> list[str]:
    """The boards that one move makes of this one."""
    gap = board.index("0")
    made = []
    for at in NEIGHBOURS[gap]:
        tiles = list(board)
        tiles[gap], tiles[at] = tiles[at], "0"
        made.append("".join(tiles))
    return made


def solve() -> bytes:
    """How many moves each board is from the solved one, by `number`."""
    distances = bytearray([UNREACHABLE]) * 362_880
    distances[number(SOLVED)] = 0
    boards, distance = [SOLVED], 0
    while boards:
        distance += 1
        further = []
        for board in boards:
            for made in moves(board):
                place = number(made)
                if distances[place] == UNREACHABLE:
                    distances[place] = distance
                    further.append(made)
        boards = further
    return bytes(distances)


app = Flask(__name__)
DISTANCES = solve()


@app.get("/")
def new() -> str:
    """A board to begin with."""
    board = SOLVED
    for _ in range(100):
        board = random.choice(moves(board))
    return play(board)


@app.get("/<board>")
def play(board: str) -> str:
    """The board, a link on each tile that can move, and the way out."""
    _check(board)
    by_tile = {board[made.index("0")]: made for made in moves(board)}
    return render_template(
        "puzzle.html", board=board, by_tile=by_tile, distance=DISTANCES[number(board)], way=way(board)
    )


@app.get("/<board>/way")
def solution(board: str) -> object:
    """The shortest way to the solved board, as JSON."""
    _check(board)
    return jsonify(way(board))


def way(board: str) -> list[str]:
    """The boards of a shortest solution, the given one first."""
    boards = [board]
    while boards[-1] != SOLVED:
        boards.append(min(moves(boards[-1]), key=lambda made: DISTANCES[number(made)]))
    return boards


def _check(board: str) -> None:
    if sorted(board) != sorted(SOLVED) or DISTANCES[number(board)] == UNREACHABLE:
        abort(404)
