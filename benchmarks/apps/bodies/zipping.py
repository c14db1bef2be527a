"""Compression: a zip archive of eight files, 512 KB together."""

import io
import random
import zipfile

from body_web import web

WORDS = [f"word{n}" for n in range(2000)]


def _files() -> dict[str, bytes]:
    source = random.Random(2)
    return {f"{n}.txt": " ".join(source.choices(WORDS, k=10_000)).encode()[:65536] for n in range(8)}


FILES = _files()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in FILES.items():
            made.writestr(name, data)
    return out.getvalue()


def body() -> str:
    return f"{len(archive())}\n"


app = web(body)
