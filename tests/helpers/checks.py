"""What tests of checks share."""

import pandas as pd
from PIL import Image
from cnnkit.data import check_images


TILE = 96


def table_of(paths, names=None, index=None):
    table = pd.DataFrame({"file_paths": [str(path) for path in paths]}, index=index)
    if names is None:
        return table
    target_names = pd.Categorical(names)
    return table.assign(target_names=target_names, targets=target_names.codes.astype("int64"))


def check(paths, names=None, **options):
    return check_images(table_of(paths, names), progress=False, **options)


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
