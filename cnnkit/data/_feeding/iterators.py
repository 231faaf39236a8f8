"""The iterator behind `flow_from_tables`. In its own file, because it imports Keras."""

import math
from typing import Any

import keras
import pandas as pd

from cnnkit.data._feeding.batches import ImageBatches, order_of_epoch
from cnnkit.data._tables.tables import class_names_of


class TableIterator(keras.utils.PyDataset):
    """Batches of a table of images, with the attributes of Keras's image iterators."""

    def __init__(
        self,
        table: pd.DataFrame,
        batches: ImageBatches,
        batch_size: int,
        *,
        shuffle: bool,
        workers: int,
    ) -> None:
        super().__init__(workers=workers)
        self.filepaths = list(table["file_paths"])
        self.classes = table["targets"].to_numpy()
        self.class_indices = {name: code for code, name in enumerate(class_names_of(table))}
        self.samples = len(table)
        self.image_shape = batches.shape
        self.batch_size = batch_size
        self.epoch = 0
        self._batches = batches
        self._shuffle = shuffle

    def __len__(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            msg = f"`index` must be below {len(self)}. Received: index={index!r}."
            raise IndexError(msg)
        order = order_of_epoch(self.samples, self._shuffle, self._batches.seed, self.epoch)
        places = order[index * self.batch_size : (index + 1) * self.batch_size]
        images, targets = self._batches(self.epoch, places), self._batches.targets
        return images if targets is None else (images, targets(places))

    def on_epoch_end(self) -> None:
        """Advance to the order and the draws of the next epoch; Keras calls it."""
        self.epoch += 1
