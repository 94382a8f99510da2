"""Where data come from: a folder, a table, arrays, a built-in data set, torch Datasets."""

from autoft.data.sources.find import Source, list_items
from autoft.data.sources.listing import Listing

__all__ = ["Listing", "Source", "list_items"]
