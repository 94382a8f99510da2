"""What a job makes of its order, before the search begins."""

from autoft.jobs.order import CONFIG_FILE, Order, versions
from autoft.jobs.searching import search_options
from autoft.recipe import yaml
from autoft.tuner.config import resolve_config

ORDER = Order(verb="search", run="one", storage_path="runs", versions=versions())


def packaged_in(folder, **sections):
    config = resolve_config(None, [("model", "resnet18"), *sections.items()])
    (folder / CONFIG_FILE).parent.mkdir(parents=True)
    (folder / CONFIG_FILE).write_text(yaml.dumps(config.full()))
    return folder


def test_the_run_is_kept_outside_of_the_package(tmp_path):
    options = search_options(ORDER, packaged_in(tmp_path / "package", data="digits"), tmp_path / "home")
    assert options["overrides"] == {"output.storage_path": str(tmp_path / "home" / "runs")}
    assert resolve_config(options["config"]).data.source == "digits"


def test_what_was_shipped_is_found_wherever_workers_are(tmp_path):
    package = packaged_in(tmp_path / "package", data="photos", **{"model.weights": "own.safetensors"})
    (package / "photos").mkdir()
    (package / "own.safetensors").touch()
    changes = search_options(ORDER, package, tmp_path)["overrides"]
    assert changes["data.source"] == str(package / "photos")
    assert changes["model.weights"] == str(package / "own.safetensors")


def test_a_shipped_folder_does_not_shadow_a_built_in_name(tmp_path):
    package = packaged_in(tmp_path / "package", data="digits")
    (package / "digits").mkdir()
    (package / "pretrained").mkdir()
    assert set(search_options(ORDER, package, tmp_path)["overrides"]) == {"output.storage_path"}
