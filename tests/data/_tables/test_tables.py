"""Tables as arguments: the numbers of the classes are the codes of their names."""

from typing import ClassVar

import pytest

from cnnkit.data import image_dataset, list_images


class TestConsistency:
    """The numbers of the classes are the codes of their names, or the table is refused."""

    CHANGES: ClassVar = {
        "numbers by hand": (
            lambda table: table.assign(targets=1 - table["targets"]),
            "not the codes of the names",
        ),
        "names only renamed": (
            lambda table: table.assign(
                target_names=table["target_names"].cat.reorder_categories(["b", "a"])
            ),
            "not the codes of the names",
        ),
        "names as plain text": (
            lambda table: table.assign(target_names=table["target_names"].astype(str)),
            "plain names",
        ),
        "a class taken away": (
            lambda table: table.assign(
                target_names=table["target_names"].cat.remove_categories(["a"]),
                targets=table["target_names"].cat.remove_categories(["a"]).cat.codes,
            ),
            "rows without a class",
        ),
    }

    @pytest.mark.parametrize(("change", "received"), CHANGES.values(), ids=CHANGES)
    def test_contradictory_tables(self, make_folder, change, received):
        """Labels can't be swapped in silence."""
        table = change(list_images(make_folder({"a": 2, "b": 2})))

        with pytest.raises(ValueError, match=rf"Received: .*{received}.*Recompute both: names = "):
            image_dataset(table, (8, 8))

    def test_a_filtered_table_keeps_its_numbers(self, make_folder):
        """Leaving out a class is no contradiction: all classes are still known."""
        table = list_images(make_folder({"a": 2, "b": 2}))

        dataset = image_dataset(table[table["target_names"] == "b"], (8, 8))
        assert ["a", "b"] == dataset.class_names

    def test_a_split_folder_is_not_listed_as_classes(self, make_folder):
        """Train, validation and test are no classes; the error says what lists them."""
        folder = make_folder({"train/cat": 1, "val/cat": 1, "test/cat": 1})

        with pytest.raises(ValueError, match=r"split into test, train, val\. Use `list_splits`"):
            list_images(folder)

    def test_a_class_called_train_is_a_class(self, make_folder):
        """A folder of vehicles may hold trains."""
        table = list_images(make_folder({"train": 1, "bus": 1}))

        assert ["bus", "train"] == list(table["target_names"].cat.categories)
