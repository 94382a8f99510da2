"""What a run's folder is given to keep."""

from autoft.tuner.config import resolve_config
from autoft.tuner.run_folder import RunFolder


def test_a_run_keeps_its_configuration_but_no_password(tmp_path):
    url = "postgresql+psycopg://me:s3cret@host/studies"
    config = resolve_config(None, [], {"model.name": "resnet18", "search.storage": url})
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_config(config)
    assert "s3cret" not in folder.config_file.read_text()
    assert folder.read_config() == config.override({"search.storage": "postgresql+psycopg://me@host/studies"})
