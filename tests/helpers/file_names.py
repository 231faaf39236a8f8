"""File names of any kind."""

import os
import re
from hypothesis import strategies as st


OPERATIONS = ("rename", "replace", "write_text", "unlink")


def fits(name):
    reserved = name in {".", ".."} or re.fullmatch(r"\.cnnkit-move-\d+", name)
    return not reserved and len(os.fsencode(name)) <= 255


any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
