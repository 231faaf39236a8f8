"""Photos for PyTorch's DataLoader. A file of its own: its worker processes import it."""

import albumentations as A
import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset


class TorchPhotos(Dataset):
    """Photos read, reduced and scaled with OpenCV, as image and one-hot target."""

    def __init__(
        self, paths: list[str], targets: np.ndarray, side: int, transform: A.Compose | None
    ) -> None:
        self.paths, self.targets, self.side, self.transform = paths, targets, side, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        image = cv2.cvtColor(cv2.imread(self.paths[place]), cv2.COLOR_BGR2RGB)
        if image.shape[:2] != (self.side, self.side):
            image = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)
        if self.transform is not None:
            image = self.transform(image=image)["image"]
        return image.astype(np.float32) / 127.5 - 1, self.targets[place]


def one_thread(_: int) -> None:
    """Keep OpenCV's own threads out of the workers."""
    cv2.setNumThreads(1)


def loader(dataset: TorchPhotos, batch_size: int) -> DataLoader:
    """Return the loader with two worker processes, which stay between epochs."""
    return DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context="spawn",
        worker_init_fn=one_thread,
    )
