"""Fixtures of the tests of records."""

from records import SIZE


import pytest

from cnnkit.data import list_images, write_records


@pytest.fixture
def table(make_folder):
    """Thirteen images of three classes."""
    return list_images(make_folder({"photos/a": 5, "photos/b": 6, "photos/c": 2}) / "photos")


@pytest.fixture
def write(table, tmp_path_factory):
    """Return a function that writes the table into a new folder, or one that is given."""

    def to(folder=None, rows=table, image_size=SIZE, **options):
        folder = folder or tmp_path_factory.mktemp("records")
        write_records(rows, folder, image_size, progress=False, **options)
        return folder

    return to
