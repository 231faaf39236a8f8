"""From files to arrays, tables and pipelines.

TensorFlow and Keras load inside the functions that return their objects.
"""

from cnnkit.data._checks.checking import check_images
from cnnkit.data._checks.label_errors import find_label_errors
from cnnkit.data._checks.leaks import find_leaks
from cnnkit.data._feeding.bridges import image_data_generator, preprocessing_function
from cnnkit.data._feeding.datasets import image_dataset
from cnnkit.data._feeding.flows import flow_from_tables
from cnnkit.data._feeding.loading import LoadedImages, load_images
from cnnkit.data._files.reading import read_image
from cnnkit.data._moves.placing import split_folder
from cnnkit.data._moves.renaming import rename_classes, renumber_files
from cnnkit.data._prediction.predicting import predict_images
from cnnkit.data._records.reading import record_dataset
from cnnkit.data._records.writing import write_records
from cnnkit.data._splits.folds import k_fold_tables
from cnnkit.data._splits.splitting import split_arrays, split_table
from cnnkit.data._tables.listing import list_images, list_splits
from cnnkit.data._tables.split import Split

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
