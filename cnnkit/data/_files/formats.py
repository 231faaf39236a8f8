"""Image formats and their file extensions."""

# Pillow's name of the format -> its extensions; the first is used to rename a file.
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
    "MPO": (".jpg", ".jpeg", ".mpo"),  # some cameras write it: a JPEG followed by another one
}
ALL_SUFFIXES = tuple(dict.fromkeys(suffix for known in SUFFIXES.values() for suffix in known))
