"""scikit-learn, imported without scipy's statistics: two functions of them, which nothing here calls."""

from importlib import import_module

from autoft.lazily import put_off

with put_off("scipy.stats", "gmean", "rankdata"):
    import_module("sklearn.linear_model")
    import_module("sklearn.metrics")
    import_module("sklearn.model_selection")
