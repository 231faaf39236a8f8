"""The kinds of image files, and the extensions that they go by."""

# Pillow's name of the format -> its extensions; the first is the one to give a file.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "MPO": (".jpg", ".jpeg", ".mpo"),  # what some cameras write: a JPEG and another one behind it
}
ALL_SUFFIXES = tuple(dict.fromkeys(suffix for known in SUFFIXES.values() for suffix in known))
