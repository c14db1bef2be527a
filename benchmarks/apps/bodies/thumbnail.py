"""Thumbnail: a JPEG of 1280 x 960 made smaller to 128 pixels with Pillow."""

import io

from body_web import web
from PIL import Image


def _picture() -> bytes:
    """A gradient with structure, the same every time."""
    red = Image.linear_gradient("L").resize((1280, 960))
    green = Image.radial_gradient("L").resize((1280, 960))
    out = io.BytesIO()
    Image.merge("RGB", (red, green, red.rotate(180))).save(out, "JPEG")
    return out.getvalue()


PICTURE = _picture()


def thumbnail() -> bytes:
    with Image.open(io.BytesIO(PICTURE)) as image:
        image.thumbnail((128, 128))
        out = io.BytesIO()
        image.save(out, "JPEG")
    return out.getvalue()


def body() -> str:
    with Image.open(io.BytesIO(thumbnail())) as image:
        return f"{image.width} x {image.height}\n"


app = web(body)
