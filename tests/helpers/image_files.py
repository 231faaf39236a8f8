"""What tests of image files share."""

import io
from PIL import Image


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
