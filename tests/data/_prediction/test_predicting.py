"""predict_images: every prediction in the row of its file, and probabilities only."""

from predictions import LEVELS, NAMES


from functools import cache
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from cnnkit.data import list_images, predict_images, read_image
from cnnkit.exceptions import ImageReadError


@cache
def brightness(units, *, scaled=True, size=(8, 8), channels=3):
    """A model that takes the mean pixel for the probability of light.

    With one unit it gives that probability, with two those of dark and light.
    """
    inputs = keras.Input((*size, channels))
    x = keras.layers.Rescaling(1 / 255)(inputs) if scaled else inputs
    light = keras.ops.mean(x, axis=(1, 2, 3), keepdims=True)
    light = keras.layers.Flatten()(light)
    outputs = light if units == 1 else keras.ops.concatenate([1 - light, light], axis=1)
    return keras.Model(inputs, outputs)


@cache
def linear(units):
    """A model of plain numbers, one for each class, that are no probabilities."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    kernel = keras.initializers.Constant(np.linspace(0.5, 1, 3 * units).reshape(3, units))
    return keras.Model(inputs, keras.layers.Dense(units, kernel_initializer=kernel)(x))


class TestAlignment:
    """Every prediction is in the row of its file."""

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 11, 32])
    def test_rows_are_those_of_the_files(self, table, batch_size):
        """Whatever the batch size, the probability of a row is that of its own image."""
        result = predict_images(brightness(2), table, batch_size=batch_size, progress=False)

        assert list(table.index) == list(result.index)
        assert table["file_paths"].tolist() == result["file_paths"].tolist()
        np.testing.assert_allclose(result["probability_light"], np.array(LEVELS) / 255, atol=1e-6)

    def test_filtered_and_reordered_table(self, table):
        """A part of a table in another order is predicted in that order."""
        part = table.iloc[[7, 2, 9]]

        result = predict_images(brightness(2), part, progress=False)

        assert ["row 70", "row 90", "row 180"] == list(result.index)
        np.testing.assert_allclose(
            result["probability_light"], np.array([70, 90, 180]) / 255, atol=1e-6
        )

    def test_repeated_index_is_no_obstacle(self, table):
        """Rows are told apart by place, not by index."""
        result = predict_images(brightness(2), table.set_axis([0] * 11), progress=False)

        np.testing.assert_allclose(result["probability_light"], np.array(LEVELS) / 255, atol=1e-6)

    def test_given_table_is_unchanged(self, table):
        """The predictions stand in a new table."""
        before = table.copy()

        predict_images(brightness(2), table, progress=False)

        pd.testing.assert_frame_equal(before, table)


class TestColumns:
    """The table with predicted_names, confidence and a probability for each class."""

    def test_columns(self, table):
        """The new columns follow those of the table."""
        result = predict_images(brightness(2), table, progress=False)

        expected = ["predicted_names", "confidence", "probability_dark", "probability_light"]
        assert [*table.columns, *expected] == list(result.columns)

    def test_predicted_names(self, table):
        """The predicted name is the likeliest class, a category among all."""
        result = predict_images(brightness(2), table, progress=False)

        assert NAMES == result["predicted_names"].tolist()
        assert ["dark", "light"] == list(result["predicted_names"].cat.categories)

    def test_predicted_names_compare_with_target_names(self, table):
        """Accuracy is the mean of a plain comparison."""
        result = predict_images(brightness(2), table, progress=False)

        assert (result["predicted_names"] == result["target_names"]).mean() == 1

    def test_confidence(self, table):
        """Confidence is the probability of the predicted class."""
        result = predict_images(brightness(2), table, progress=False)

        light = np.array(LEVELS) / 255
        np.testing.assert_allclose(result["confidence"], np.maximum(light, 1 - light), atol=1e-6)

    def test_sigmoid_unit_gives_two_classes(self, table):
        """One unit is the probability of the second class, and equals the two-unit model."""
        expected = predict_images(brightness(2), table, progress=False)

        actual = predict_images(brightness(1), table, progress=False)

        pd.testing.assert_frame_equal(expected, actual, check_exact=False, atol=1e-6)

    def test_sigmoid_of_0_97_is_the_second_class(self, level_table):
        """A high sigmoid is the second class, not the first."""
        table = level_table([247], ["dark"])[["file_paths"]]

        result = predict_images(brightness(1), table, class_names=["dark", "light"], progress=False)

        assert ["light"] == result["predicted_names"].tolist()

    def test_unlabelled_table(self, table):
        """With class_names, labels are not needed."""
        result = predict_images(
            brightness(2), table[["file_paths"]], class_names=["black", "white"], progress=False
        )

        assert ["black", "white"] == list(result["predicted_names"].cat.categories)
        assert [{"dark": "black", "light": "white"}[name] for name in NAMES] == result[
            "predicted_names"
        ].tolist()

    def test_class_names_go_before_the_table(self, table):
        """class_names are the model's outputs, whatever order the table has."""
        result = predict_images(brightness(2), table, class_names=["night", "day"], progress=False)

        assert "probability_day" in result
        assert "night" == result.loc["row 0", "predicted_names"]

    def test_names_that_are_plain_text(self, table):
        """A table that was read from a CSV file has no classes in order, and needs none."""
        plain = table.assign(target_names=table["target_names"].astype(str))

        actual = predict_images(brightness(2), plain, class_names=["night", "day"], progress=False)
        with pytest.raises(ValueError, match="`class_names` must be given"):
            predict_images(brightness(2), plain, progress=False)

        expected = predict_images(
            brightness(2), table, class_names=["night", "day"], progress=False
        )
        assert expected["predicted_names"].tolist() == actual["predicted_names"].tolist()

    def test_class_order_of_the_table(self, level_table):
        """Outputs follow the order of the table's categories, not of the alphabet."""
        table = level_table([250, 5], ["light", "dark"])
        table["target_names"] = table["target_names"].cat.reorder_categories(["light", "dark"])

        result = predict_images(brightness(2), table, progress=False)

        assert ["dark", "light"] == result["predicted_names"].tolist()

    def test_half_precision_outputs(self, table):
        """Outputs of a low precision sum to one only roughly, and are taken."""
        model = brightness(2)
        half = keras.Model(model.input, keras.ops.cast(model.output, "float16"))

        result = predict_images(half, table, progress=False)

        assert NAMES == result["predicted_names"].tolist()


class TestReading:
    """Images are read as in training."""

    def test_images_equal_read_image(self, make_folder):
        """What the model sees is what read_image gives at the model's own size."""
        table = list_images(make_folder({"cat": 3, "dog": 2}))
        expected = [read_image(path, (10, 6)).mean() / 255 for path in table["file_paths"]]

        result = predict_images(brightness(2, size=(10, 6)), table, progress=False)

        np.testing.assert_allclose(result["probability_dog"], expected, atol=1e-5)

    def test_mode_scales_outside(self, table):
        """A model that doesn't scale inside is given images scaled by mode."""
        result = predict_images(brightness(2, scaled=False), table, mode="unit", progress=False)

        np.testing.assert_allclose(result["probability_light"], np.array(LEVELS) / 255, atol=1e-6)

    def test_grayscale_model(self, table):
        """A model of one channel is given grayscale images."""
        result = predict_images(brightness(2, channels=1), table, progress=False)

        assert NAMES == result["predicted_names"].tolist()

    def test_model_of_open_size(self, table):
        """Where the input leaves the size open, image_size gives it."""
        model = brightness(2, size=(None, None))

        result = predict_images(model, table, image_size=(5, 7), progress=False)

        assert NAMES == result["predicted_names"].tolist()

    def test_unreadable_image(self, table):
        """A damaged file stops the prediction and is named."""
        path = table["file_paths"].iloc[4]
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"no image")

        with pytest.raises(Exception, match=r"level_000\.png.*\(file 5 of 11\)"):
            predict_images(brightness(2), table, progress=False)

    def test_unreadable_image_is_an_image_read_error(self, table):
        """A damaged file raises an ImageReadError, as everywhere."""
        path = table["file_paths"].iloc[4]
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"no image")

        with pytest.raises(ImageReadError, match=r"level_000\.png.*\(file 5 of 11\)"):
            predict_images(brightness(2), table, progress=False)

    @pytest.mark.parametrize("progress", [True, False])
    def test_progress_is_shown_on_request(self, table, capsys, progress):
        """The progress bar is written to standard error, or not at all."""
        predict_images(brightness(2), table, batch_size=4, progress=progress)

        shown = capsys.readouterr()
        assert progress == ("3/3" in shown.err)
        assert shown.out == ""


class TestErrors:
    """Wrong arguments are refused with the rule, the received value, and advice."""

    @pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "unit"])
    def test_scaled_data_for_a_model_that_scales_inside(self, table, mode):
        """Scaling outside and inside would scale twice."""
        text = (
            r"^`mode` must be 'none' for a model that scales inside, or images would be scaled "
            rf"twice\. Received: mode='{mode}'\.$"
        )

        with pytest.raises(ValueError, match=text):
            predict_images(brightness(2), table, mode=mode, progress=False)

    def test_nested_model_that_scales_inside(self, table):
        """A scaling layer in a nested model is found too."""
        inner = brightness(2)
        inputs = keras.Input((8, 8, 3))
        outer = keras.Model(inputs, inner(inputs))

        with pytest.raises(ValueError, match="`mode` must be 'none' for a model that scales"):
            predict_images(outer, table, mode="tf", progress=False)

    def test_unknown_mode(self, table):
        """An unknown mode is refused."""
        with pytest.raises(ValueError, match=r"^`mode` must be one of .*Received: mode='255'"):
            predict_images(brightness(2, scaled=False), table, mode="255", progress=False)

    @pytest.mark.parametrize("units", [1, 2, 3])
    def test_logits_are_refused(self, level_table, units):
        """Numbers that are no probabilities are refused, with the layer to add."""
        names = ["a", "b", "c"][: max(2, units)]
        table = level_table(list(range(100, 100 + len(names))), names)
        text = (
            r"^`model` must give probabilities\. Received: outputs from .* to .*\. "
            r"Pass from_logits=True for logits\.$"
        )

        with pytest.raises(ValueError, match=text):
            predict_images(linear(units), table, progress=False)

    @pytest.mark.parametrize("units", [1, 2])
    @pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
    def test_class_names_that_do_not_fit(self, table, units, names):
        """There is a name for each class of the model."""
        text = (
            r"^`class_names` must name the 2 classes of the model\. "
            rf"Received: {len(names)} names, \['a'.*\]\.$"
        )

        with pytest.raises(ValueError, match=text):
            predict_images(brightness(units), table, class_names=names, progress=False)

    def test_classes_of_the_table_that_do_not_fit(self, level_table):
        """A table of other classes than the model's is refused before anything is read."""
        table = level_table([1, 2, 3], ["a", "b", "c"]).assign(file_paths="missing.png")

        with pytest.raises(ValueError, match="must name the 2 classes of the model"):
            predict_images(brightness(2), table, progress=False)

    def test_unlabelled_table_without_class_names(self, table):
        """Names must come from somewhere."""
        text = (
            r"^`class_names` must be given if neither the model nor the table has them\. "
            r"Received: class_names=None\.$"
        )

        with pytest.raises(ValueError, match=text):
            predict_images(brightness(2), table[["file_paths"]], progress=False)

    def test_open_size_without_image_size(self, table):
        """A model of open size needs image_size."""
        with pytest.raises(ValueError, match=r"^`image_size` must be .*Received: "):
            predict_images(brightness(2, size=(None, None)), table, progress=False)

    def test_model_of_other_channels(self, table):
        """A model of four channels can't be given RGB, and the error says so."""
        with pytest.raises(ValueError, match=r"^`model` must .*channels.*Received: .*4"):
            predict_images(brightness(2, channels=4), table, progress=False)

    def test_empty_table(self, table):
        """A table of no images is refused."""
        with pytest.raises(ValueError, match="must hold at least one image"):
            predict_images(brightness(2), table[:0], progress=False)

    def test_no_table(self):
        """A number is refused; the message says how to make a table."""
        with pytest.raises(ValueError, match=r"must be a DataFrame .*`list_images` makes one"):
            predict_images(brightness(2), 3, class_names=["a", "b"], progress=False)

    @pytest.mark.parametrize(("top", "error"), [(0, ValueError), (1.5, TypeError)])
    def test_top_that_is_no_count(self, table, top, error):
        """`top` must be at least 1."""
        with pytest.raises(error, match="`top` must be a whole number"):
            predict_images(brightness(2), table, top=top, progress=False)

    def test_crop_and_pad(self, table):
        """An image is cut or padded, not both."""
        options = {"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}

        with pytest.raises(ValueError, match="Only one of `crop_to_aspect_ratio` and"):
            predict_images(brightness(2), table, progress=False, **options)


class TestFiles:
    """Images may be given as files too."""

    def test_list_of_files(self, table):
        """A list of files, as text or as paths, is predicted in its order."""
        expected = predict_images(brightness(2), table, progress=False)
        names = ["dark", "light"]
        for kind in (str, Path):
            files = [kind(path) for path in table["file_paths"]]

            result = predict_images(brightness(2), files, class_names=names, progress=False)

            assert list(table["file_paths"]) == list(result["file_paths"])
            assert list(expected["confidence"]) == list(result["confidence"])

    def test_one_file(self, table):
        """One file gives a table of one row."""
        path = table["file_paths"].iloc[0]

        result = predict_images(brightness(2), path, class_names=["dark", "light"], progress=False)

        assert [path] == list(result["file_paths"])
        assert ["light"] == list(result["predicted_names"])

    def test_folder(self, table):
        """Of a folder all images are predicted, in the order of their names."""
        folder = Path(table["file_paths"].iloc[0]).parent

        result = predict_images(
            brightness(2), folder, class_names=["dark", "light"], progress=False
        )

        assert sorted(table["file_paths"]) == list(result["file_paths"])


class TestLogits:
    """Logits become probabilities on request."""

    @pytest.mark.parametrize("units", [2, 3])
    def test_softmax(self, table, units):
        """Several logits are the softmax's, in float64."""
        model = linear(units)
        names = list("abc")[:units]
        pixels = np.stack([read_image(path) for path in table["file_paths"]])
        powers = np.exp(np.asarray(model.predict_on_batch(pixels), dtype=np.float64))

        result = predict_images(model, table, class_names=names, from_logits=True, progress=False)

        columns = result[[f"probability_{name}" for name in names]]
        np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), columns, rtol=1e-5)

    def test_sigmoid(self, table):
        """One logit is the sigmoid's, of the second class, also where it is very small."""
        inputs = keras.Input((8, 8, 3))
        outputs = keras.layers.GlobalAveragePooling2D()(inputs)[:, :1] * -0.1
        model = keras.Model(inputs, outputs)

        result = predict_images(model, table, from_logits=True, progress=False)

        expected = 1 / (1 + np.exp(0.1 * np.array(LEVELS)))
        np.testing.assert_allclose(expected, result["probability_light"], rtol=1e-5)
        np.testing.assert_allclose(1 - expected, result["probability_dark"], rtol=1e-6)


class TestTop:
    """`top` returns the most probable classes instead of all."""

    def test_ranks(self, table):
        """The first is the prediction, and probabilities fall from rank to rank."""
        names = [f"class {number}" for number in range(7)]
        table = table[["file_paths"]]
        options = {"class_names": names, "from_logits": True, "progress": False}
        model = linear(7)
        everything = predict_images(model, table, **options)

        result = predict_images(model, table, top=3, **options)

        ranks = [f"top_{rank}_{what}" for rank in (1, 2, 3) for what in ("names", "probability")]
        assert ["file_paths", "predicted_names", "confidence", *ranks] == list(result.columns)
        assert list(result["predicted_names"]) == list(result["top_1_names"])
        assert list(result["confidence"]) == list(result["top_1_probability"])
        shares = everything[[f"probability_{name}" for name in names]].to_numpy()
        for rank in (1, 2, 3):
            expected = np.sort(shares, axis=1)[:, -rank]
            np.testing.assert_array_equal(expected, result[f"top_{rank}_probability"])
            codes = result[f"top_{rank}_names"].cat.codes
            np.testing.assert_array_equal(expected, shares[np.arange(len(table)), codes])

    def test_more_than_there_are(self, table):
        """There are no more ranks than classes."""
        result = predict_images(brightness(2), table, top=5, progress=False)

        assert "top_2_names" in result
        assert "top_3_names" not in result
