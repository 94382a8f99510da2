import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoft.errors import ModelError
from autoft.model import LoadedModel, apply_plan, call, load_model, named_tensors, plan_stage, set_eval
from autoft.model.chain import Chain, Cut, Piece, assemble, verify
from autoft.recipe import ModelConfig, Stage

RATES = {"hand-written": {"drop_rate": 0.3}}
KINDS = {"hand-written": "traced"}


def plan_of(loaded, value="all"):
    return plan_stage(Stage(name="tune", unfreeze=value, epochs=1), loaded)


def own(module, shape=(2, 4), **settings) -> LoadedModel:
    torch.manual_seed(0)
    example = {"input": torch.randn(shape)}
    return load_model(ModelConfig(name="own", **settings), num_outputs=2, module=module, example=example)


@torch.no_grad()
def test_segments_in_eval_mode_are_bitwise_the_model(fresh, inputs, name):
    loaded = fresh(name, **RATES.get(name, {"drop_rate": 0.3, "drop_path_rate": 0.2}))
    assert loaded.chain.why_not is None
    assert loaded.chain.kind == KINDS.get(name, "cutter")
    assert len(loaded.chain) == len(loaded.groups)
    set_eval(loaded)
    for batch in (1, 3):
        x = inputs(name, batch=batch, seed=batch)
        expected = loaded.module(x)
        assert torch.equal(loaded.chain.run(x, 0, len(loaded.chain)), expected)
        for boundary in range(len(loaded.chain) + 1):
            prefix = loaded.chain.run(x, 0, boundary)
            assert torch.equal(loaded.chain.run(prefix, boundary, len(loaded.chain)), expected)


@pytest.mark.parametrize("depth", [0, "all"], ids=["head only", "all"])
def test_segments_in_train_mode_are_bitwise_the_model(fresh, inputs, name, depth):
    rates = RATES.get(name, {"drop_rate": 0.3, "drop_path_rate": 0.2})
    whole, cut = fresh(name, **rates), fresh(name, **rates)
    x = inputs(name)
    results = []
    for loaded, run in ((whole, whole.module), (cut, lambda x: cut.chain.run(x, 0, len(cut.chain)))):
        apply_plan(plan_of(loaded, depth), loaded)
        torch.manual_seed(7)
        output = run(x)
        output.square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in loaded.module.named_parameters()}
        results.append((output, gradients, named_tensors(loaded.module)))
    (output, gradients, tensors), (other, others, after) = results
    assert torch.equal(output, other)
    assert all(torch.equal(tensors[name], after[name]) for name in tensors)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(gradients.values(), others.values(), strict=True))


def test_head_dropout_works_in_segments_and_follows_the_rate(fresh, inputs, name):
    loaded = fresh(name, drop_rate=0.5)
    apply_plan(plan_of(loaded, 0), loaded)
    last = len(loaded.chain)
    pooled = loaded.chain.run(inputs(name), 0, last - 1)
    first, second = (loaded.chain.run(pooled, last - 1, last) for _ in range(2))
    assert not torch.equal(first, second)
    set_eval(loaded)
    assert torch.equal(loaded.chain.run(pooled, last - 1, last), loaded.chain.run(pooled, last - 1, last))


def test_what_enters_the_head_is_small(fresh, inputs):
    for name in ("resnet18", "tf_efficientnet_lite0", "convnext_atto", "swin_tiny_patch4_window7_224"):
        loaded = fresh(name)
        assert loaded.chain.run(inputs(name), 0, len(loaded.chain) - 1).numel() < 4 * 1300


@torch.no_grad()
def test_a_prefix_does_not_depend_on_what_comes_after(fresh, inputs, name):
    loaded = fresh(name)
    x = inputs(name)
    before = [loaded.chain.run(x, 0, boundary) for boundary in range(len(loaded.chain))]
    for index in reversed(range(1, len(loaded.groups))):
        for parameter in loaded.groups[index].parameters:
            loaded.module.get_parameter(parameter).fill_(torch.nan)
        assert torch.equal(loaded.chain.run(x, 0, index), before[index])


@pytest.mark.parametrize(
    ("trained", "expected"), [([5], 5), ([5, 4, 3], 3), ([0, 5], 0), ([], 6)], ids=["head", "top", "stem", "nothing"]
)
def test_the_longest_untrained_prefix(fresh, trained, expected):
    assert fresh("resnet18").chain.prefix_length(trained) == expected


def test_patterns_inside_of_stages_can_be_cut(inputs):
    groups = ("conv1", "bn1", "layer[123]*", "layer4.0", "layer4.1")
    loaded = load_model(ModelConfig(name="resnet18", weights="random", groups=groups), num_outputs=3, image_size=32)
    assert loaded.chain.kind == "cutter"
    assert [len(segment) for segment in loaded.chain.segments] == [1, 3, 6, 1, 2, 1]
    assert [group.name for group in loaded.groups] == [*groups, "head"]


def test_a_sequential_is_cut_at_its_children():
    loaded = own(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.Dropout()), nn.Linear(8, 2))
    )
    assert (loaded.chain.kind, [len(segment) for segment in loaded.chain.segments]) == ("sequential", [2, 2, 1])


class Own(nn.Module):
    def __init__(self, *, wrong: str = "") -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.wrong = wrong

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 1e9:
            return x
        return self.fc(self.second(self.first(x)))

    def segments(self):
        match self.wrong:
            case "":
                return [self.first, self.second, self.fc]
            case "count":
                return [self.first, self.fc]
            case "values":
                return [self.first, lambda x: self.second(x) + 1e-6, self.fc]
            case "order":
                return [lambda x: self.second(self.first(x)), lambda x: x, self.fc]
            case "tuple":
                return [lambda x: (self.first(x),), lambda x: self.second(x[0]), self.fc]


def test_segments_of_ones_own_are_taken():
    assert own(Own()).chain.kind == "segments()"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("count", "as written: segments() must return one callable per group (3), got 2"),
        ("values", "as written: run segment by segment it gives other values than as a whole"),
        ("order", " of group second is used in the segment of first"),
        ("tuple", "as written: between first and second flows more than one tensor"),
    ],
)
def test_wrong_segments_leave_the_model_in_one_piece_and_say_why(wrong, reason):
    chain = own(Own(wrong=wrong)).chain
    assert (len(chain), chain.kind) == (1, "opaque")
    assert chain.why_not is not None
    assert reason in chain.why_not
    assert "symbolically traced" in chain.why_not


def test_an_opaque_chain_runs_the_model_and_has_no_prefix():
    loaded = own(Own(wrong="count"))
    x = torch.ones(3, 4)
    assert torch.equal(loaded.chain.run(x, 0, len(loaded.chain)), loaded.module(x))
    assert loaded.chain.prefix_length([2]) == 0


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.fc(self.third(self.second(x) + x))


def test_a_boundary_that_two_values_cross_falls_on_the_one_before():
    class Skipping(Residual):
        def forward(self, x: Tensor) -> Tensor:
            first = self.first(x)
            second = self.second(first)
            return self.fc(self.third(second) + first)

    assert own(Residual()).chain.kind == "traced"
    loaded = own(Skipping())
    x = torch.ones(3, 4)
    assert loaded.chain.kind == "traced"
    assert torch.equal(loaded.chain.run(x, 0, 1), loaded.chain.run(x, 0, 2))
    assert torch.equal(loaded.chain.run(x, 0, 4), loaded.module(x))


def test_a_forward_that_follows_the_mode_itself_is_not_traced():
    class Functional(Residual):
        def forward(self, x: Tensor) -> Tensor:
            x = functional.dropout(self.first(x), p=0.5, training=self.training)
            return self.fc(self.third(self.second(x)))

    chain = own(Functional()).chain
    assert chain.why_not is not None
    assert "does other things in train mode" in chain.why_not


def test_a_dict_goes_in_whole_or_as_keywords():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.fc = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.fc(self.body(left + right))

    class Whole(Named):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.fc(self.body(batch["left"] + batch["right"]))

    x = {"left": torch.ones(2, 4), "right": torch.ones(2, 4)}
    for module, kind in ((Named(), "opaque"), (Whole(), "traced")):
        loaded = load_model(ModelConfig(name="own"), num_outputs=2, module=module, example=x)
        assert loaded.chain.kind == kind
        assert torch.equal(loaded.chain.run(x, 0, len(loaded.chain)), call(loaded.module, x))


def test_without_an_example_nothing_is_cut():
    chain = load_model(ModelConfig(name="own"), num_outputs=2, module=nn.Sequential(nn.Linear(4, 2))).chain
    assert chain.why_not == "without an example input a cut cannot be checked"


def test_a_cut_that_forgets_a_part_is_refused(fresh):
    loaded = fresh("resnet18")
    pieces = (Piece(loaded.module.fc, ("fc",)),)
    with pytest.raises(ModelError, match=r"has a part that the cut does not know: conv1\.weight"):
        assemble(Cut("cutter", pieces), loaded.module, loaded.groups, loaded.homes)


def test_verification_compares_bits(fresh, inputs):
    loaded = fresh("resnet18")
    x = inputs("resnet18")
    with torch.no_grad():
        expected = loaded.module(x)
    nearly = Chain([*loaded.chain.segments[:-1], [lambda x: loaded.module.fc(x) * (1 + 1e-7)]], "cutter")
    verify(loaded.chain, loaded.module, x, expected, loaded.groups)
    with pytest.raises(ModelError, match="gives other values"):
        verify(nearly, loaded.module, x, expected, loaded.groups)


class Swapped(nn.Module):
    """Rows are the second dimension of what leaves the layer, as in CLIP's transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).transpose(0, 1)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.left(x), self.right(x)


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, both: tuple[Tensor, Tensor]) -> Tensor:
        return self.layer(both[0] * both[1])


@pytest.mark.parametrize(
    ("middle", "shape"),
    [
        pytest.param([Swapped(), Swapped()], (2, 3, 4), id="rows are the second dimension"),
        pytest.param([Swapped(), Swapped()], (2, 2, 4), id="as many steps as rows in the example"),
        pytest.param([Pair(), Product()], (2, 4), id="two tensors"),
    ],
)
def test_a_boundary_at_which_not_one_row_per_item_arrives_falls_on_the_one_before(middle, shape):
    loaded = own(Net(middle, shape), shape)
    assert [loaded.chain.prefix_length([trained]) for trained in range(1, 4)] == [1, 1, 3]
    x = torch.randn(5, *shape[1:])
    again = loaded.reset()
    for boundary in (1, 2, 3):
        hidden = again.chain.run(x, 0, boundary)
        assert len(hidden) == 5
        assert torch.equal(again.chain.run(hidden, boundary, 4), again.module(x))


class Net(nn.Sequential):
    def __init__(self, middle: list[nn.Module], shape: tuple[int, ...]) -> None:
        width = math.prod(shape[1:])
        super().__init__(nn.Linear(4, 4), *copy.deepcopy(middle), nn.Sequential(nn.Flatten(), nn.Linear(width, 2)))


def test_a_model_that_has_hooks_around_its_steps_stays_in_one_piece():
    def halved(part, inputs):
        return (inputs[0] / 2,) if part.training else None

    inner = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    inner.register_forward_pre_hook(halved)
    loaded = own(nn.Sequential(nn.Linear(4, 4), inner, nn.Linear(4, 2)))
    assert [len(segment) for segment in loaded.chain.segments] == [1, 1, 1], "the hooked part is one step"
    whole = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    whole.register_forward_pre_hook(halved)
    chain = own(whole).chain
    assert chain.why_not is not None
    assert "it has hooks of its own" in chain.why_not
