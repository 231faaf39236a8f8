"""predict_images with class names that the model keeps."""

import os
import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit._keras.class_names import class_names_in, layer_name_of
from cnnkit.data import predict_images
from cnnkit.transfer import build_classifier


class TestClassNamesInTheModel:
    """A model of `build_classifier` keeps its class names, saved and loaded too."""

    NAMES = ("cat", "긴 이름/2", "a.b-c~d, 100%", "_x", "dog", "classes.are.odd")

    @pytest.fixture
    def model(self):
        backbone = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)])
        return build_classifier(backbone, self.NAMES, mode="unit")

    def test_unlabelled_folder(self, model, table, tmp_path):
        """They name the columns and the predictions of files without labels, after loading too."""
        model.save(tmp_path / "model.keras")

        loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
        for each in (model, loaded):
            result = predict_images(each, table[["file_paths"]], progress=False)

            assert list(self.NAMES) == list(result["predicted_names"].cat.categories)
            assert [f"probability_{name}" for name in self.NAMES] == list(result.columns[3:])

    def test_they_survive_training_and_export(self, model, tmp_path):
        """TensorFlow takes the name of the layer as it is."""
        model.fit(np.zeros((6, 4, 4, 3)), np.eye(6), verbose=0)

        model.export(tmp_path / "export", verbose=False)

        assert (tmp_path / "export").is_dir()

    def test_the_same_names_in_another_order_are_refused(self, model, table):
        """The model's names in another order are refused; other names are accepted."""
        files = table[["file_paths"]]
        with pytest.raises(ValueError, match=r"^`class_names` must be in the order of the model's"):
            predict_images(model, files, class_names=self.NAMES[::-1], progress=False)

        result = predict_images(model, files, class_names=list("abcdef"), progress=False)
        assert list("abcdef") == list(result["predicted_names"].cat.categories)

    def test_they_go_before_those_of_the_table(self, model, table):
        """A table of other labels doesn't rename the outputs of a model."""
        with pytest.warns(UserWarning, match=r"^The table has other classes than .*: cat, "):
            result = predict_images(model, table, progress=False)

        assert list(self.NAMES) == list(result["predicted_names"].cat.categories)

    def test_an_argument_goes_before_them(self, model, table):
        """Names that are given are taken."""
        names = list("abcdef")

        result = predict_images(model, table, class_names=names, progress=False)

        assert names == list(result["predicted_names"].cat.categories)

    def test_another_number(self, model, table):
        """The number of names must be the number of classes, wherever they come from."""
        with pytest.raises(ValueError, match="`class_names` must name the 6 classes of the model"):
            predict_images(model, table, class_names=["a", "b"], progress=False)

    @settings(deadline=None, max_examples=30)  # a busy machine is no failure
    @given(
        names=st.lists(
            st.one_of(st.text(min_size=1), st.binary(min_size=1).map(os.fsdecode)),
            min_size=2,
            max_size=5,
        )
    )
    def test_any_text(self, names):
        """Any names come back as they were, in characters that TensorFlow allows.

        Those of folders may be of any bytes.
        """
        layer = keras.layers.Identity(name=f"head_{layer_name_of(names)}")

        assert re.fullmatch(r"[A-Za-z0-9_.\\/>-]*", layer.name)
        assert names == class_names_in(keras.Sequential([layer]))
