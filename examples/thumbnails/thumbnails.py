"""A thumbnail of every image that is put into a watched directory: an S3 event, as AWS Lambda gives it.

    runner serve &
    runner deploy examples/thumbnails
    runner trigger thumbnails incoming --watch ./incoming
    cp photo.jpg incoming/

Thumbnails go to the directory THUMBNAILS, by default one in the function's own HOME. What is no image fails;
after its retries it is among the dead letters (`runner dead-letters thumbnails`).
"""

import os
from pathlib import Path

from PIL import Image

SIZE = (160, 160)
TARGET = Path(os.environ.get("THUMBNAILS") or Path.home() / "thumbnails")


def handler(event, context):
    """Make the thumbnails that an event asks for; returns where they are."""
    TARGET.mkdir(exist_ok=True)
    return [thumbnail(Path(record["s3"]["object"]["localPath"])) for record in event["Records"]]


def thumbnail(path):
    """Write the thumbnail of one image."""
    with Image.open(path) as image:
        image.thumbnail(SIZE)
        target = TARGET / f"{path.stem}.jpg"
        image.convert("RGB").save(target)
        print(f"{path.name}: {image.width} x {image.height}, {target.stat().st_size} bytes")
    return str(target)
