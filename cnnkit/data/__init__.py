"""From files to arrays, tables and pipelines.

TensorFlow and Keras load inside the functions that return their objects.
"""

from cnnkit.data._bridges import image_data_generator, preprocessing_function
from cnnkit.data._checking import check_images
from cnnkit.data._datasets import image_dataset
from cnnkit.data._flows import flow_from_tables
from cnnkit.data._folds import k_fold_tables
from cnnkit.data._label_errors import find_label_errors
from cnnkit.data._leaks import find_leaks
from cnnkit.data._listing import list_images, list_splits
from cnnkit.data._loading import LoadedImages, load_images
from cnnkit.data._placing import split_folder
from cnnkit.data._prediction import predict_images
from cnnkit.data._reading import read_image
from cnnkit.data._record_dataset import record_dataset
from cnnkit.data._record_writing import write_records
from cnnkit.data._renaming import rename_classes, renumber_files
from cnnkit.data._split import Split
from cnnkit.data._splitting import split_arrays, split_table

__all__ = [
    "LoadedImages",
    "Split",
    "check_images",
    "find_label_errors",
    "find_leaks",
    "flow_from_tables",
    "image_data_generator",
    "image_dataset",
    "k_fold_tables",
    "list_images",
    "list_splits",
    "load_images",
    "predict_images",
    "preprocessing_function",
    "read_image",
    "record_dataset",
    "rename_classes",
    "renumber_files",
    "split_arrays",
    "split_folder",
    "split_table",
    "write_records",
]
