"""What tests of placing files share."""

import os
from functools import partial
from hypothesis import strategies as st
from cnnkit.data import split_folder


PHOTOS = [f"cat/{number}.jpg" for number in range(6)] + [f"dog/{name}.png" for name in "abcde"]
WAYS = ["copy", "hardlink", "symlink"]
NAMES = [
    "1",
    "1_2",
    "1_3",
    "A",
    "a",
    "ß",
    "ss",
    "é",
    "e\u0301",
    "고양이",
    "😀",
    " a ",
    "a.jpg",
    "comma, quote\"'",
    "new\nline",
    "back\\slash",
    "{}%s",
    "-rf",
    "x" * 240,
    os.fsdecode(b"\xff\xfe"),
]


place = partial(split_folder, progress=False)


folder_names = st.sampled_from(
    ["cat", "dog", "고양이", "a b", "new\nline", "é", "e\u0301", "\udcff", "train", "x" * 255]
)


file_names = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["", "a/", "b/", "a/b/"]),
    st.sampled_from(NAMES),
    st.sampled_from(["jpg", "JPG", "png"]),
)


trees = st.dictionaries(
    folder_names, st.lists(file_names, min_size=1, max_size=8, unique=True), min_size=1, max_size=3
)
