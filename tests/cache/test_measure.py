import json
import math

import pytest
import torch
from torch import nn

from autoft.cache import measure
from autoft.cache.measure import MeasurementError, Measurements, Setting
from autoft.model import load_model
from autoft.recipe import ModelConfig

CPU = torch.device("cpu")
ONE, LAST = Setting("contiguous", 1), Setting("channels_last", 1)


class Net(nn.Sequential):
    """Two convolutions and a head; the second block begins by changing its input in place."""

    def __init__(self):
        super().__init__()
        self.add_module("stem", nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
        self.add_module("block", nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 8, 3), nn.AdaptiveAvgPool2d(1)))
        self.add_module("top", nn.Flatten())
        self.add_module("head", nn.Linear(8, 3))


class Whole(nn.Module):
    """A network that cannot be cut: its blocks run in an order that depends on the input."""

    def __init__(self, *, trains=True):
        super().__init__()
        self.one, self.head = nn.Linear(8 * 8 * 3, 4), nn.Linear(4, 3)
        self.trains = trains

    def forward(self, x):
        if self.training and not self.trains:
            raise RuntimeError("never trains")
        hidden = self.one(x.flatten(1))
        return self.head(-hidden if float(hidden.detach().sum()) < 0 else hidden)


def loaded(module):
    torch.manual_seed(0)
    example = {"input": torch.zeros(2, 3, 8, 8)}
    return load_model(ModelConfig(name="own"), num_outputs=3, module=module(), example=example)


@pytest.fixture
def of(noise, tmp_path):
    def of(model, **options):
        return Measurements(model, noise(side=8), CPU, **{"cores": 2, "folder": tmp_path, **options})

    return of


def test_every_segment_has_its_seconds_and_bytes(of):
    model = loaded(Net)
    speed = of(model).few_rows(ONE)
    segments = len(model.chain)
    assert segments == len(model.groups) > 1
    assert [len(part) for part in (speed.forward_s, speed.train_s, speed.update_s, speed.row_bytes)] == [segments] * 4
    assert all(seconds > 0 for seconds in (*speed.forward_s, *speed.train_s))
    assert speed.row_bytes[0] == 4 * 6 * 6 * 4
    assert speed.step_s == sum(speed.train_s)


def test_a_model_that_cannot_be_cut_is_measured_as_one(of):
    model = loaded(Whole)
    assert model.chain.why_not
    speed = of(model).exact(ONE)
    assert len(speed.forward_s) == len(speed.train_s) == len(speed.update_s) == 1


def test_the_gradient_reaches_the_first_segment_through_all_boundaries():
    model = loaded(Net)
    passed = []
    model.module.stem[0].weight.register_hook(passed.append)
    measure._trained(model, torch.randn(4, 3, 8, 8), 4, CPU)
    assert len(passed) == 1
    assert passed[0].abs().sum() > 0


def test_measuring_leaves_model_threads_and_generator_as_they_were(of):
    model = loaded(Net)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    of(model).few_rows(Setting("channels_last", 2))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.module.state_dict().items())
    assert model.module.stem[0].weight.is_contiguous()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_known_is_not_measured_again(of, monkeypatch):
    model = loaded(Net)
    first = of(model).few_rows(ONE), of(model).exact(ONE)
    monkeypatch.setattr(measure, "_trained", None)
    assert (of(model).few_rows(ONE), of(model).exact(ONE)) == first


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda text: text[:40], id="cut off"),
        pytest.param(lambda _text: "[]", id="another form"),
        pytest.param(lambda text: text.replace('"train_s": [', '"train_s": [1.0, '), id="too many segments"),
        pytest.param(lambda text: json.dumps({**json.loads(text), "format": 0}), id="another version"),
        pytest.param(lambda text: text.replace('"forward_s": [', '"forward_s": [NaN], "x": ['), id="not a number"),
    ],
)
def test_a_damaged_file_is_measured_again(of, spoil):
    model = loaded(Net)
    measured = of(model)
    measured.few_rows(ONE)
    measured.file.write_text(spoil(measured.file.read_text()))
    again = of(model)
    assert again._known == {}
    again.few_rows(ONE)
    assert of(model)._known == again._known != {}


def test_model_size_and_cores_have_files_of_their_own(of, noise):
    model, other = loaded(Net), loaded(Whole)
    files = {of(model).file, of(other).file, of(model, cores=4).file, of(model, mixed=True).file}
    assert len(files) == 4
    assert Measurements(model, noise(side=16), CPU, cores=2).file.name not in {file.name for file in files}


def test_what_is_too_slow_is_given_up_and_remembered(of, monkeypatch):
    model = loaded(Net)
    assert of(model).few_rows(LAST, at_most_s=1e-12) is None
    monkeypatch.setattr(measure, "_evaluated", None)
    assert of(model).few_rows(LAST, at_most_s=1e-12) is None, "it is known to be slower"
    monkeypatch.undo()
    assert of(model).exact(LAST).rows > 8, "asked for without a limit it is measured"


def test_a_model_that_does_not_train_says_so(of):
    with pytest.raises(MeasurementError, match="RuntimeError: never trains"):
        of(loaded(lambda: Whole(trains=False))).few_rows(ONE)


def test_channels_last_is_for_convolutions_over_images(of):
    assert of(loaded(Net)).formats == ("contiguous", "channels_last")
    assert of(loaded(Whole)).formats == ("contiguous",)


def test_a_long_step_is_not_measured_with_more_rows(of, monkeypatch):
    model = loaded(Net)
    monkeypatch.setattr(measure, "_TELLING_S", -math.inf)
    assert of(model).exact(ONE).rows == 8
