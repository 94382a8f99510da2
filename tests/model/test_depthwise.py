"""Weight gradients of depthwise convolutions in stripes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from autoft.model.depthwise import quick_gradients

CPU = torch.device("cpu")


def gradients(layer, x, *, quick):
    """What the layer gives, and the gradients of input, weight and bias."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    if quick:
        with quick_gradients(CPU):
            out = layer(x)
    else:
        out = layer(x)
    (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
    return out, [tensor.grad for tensor in (x, *layer.parameters())]


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels last"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "side", "bias"),
    [(5, 1, 2, 3, False), (5, 2, 0, 11, False), (7, 1, 3, 6, True), (4, 1, 0, 9, True), ((3, 5), 1, (1, 2), 7, False)],
    ids=["5x5", "5x5 strided", "7x7 with bias", "4x4", "wider than high"],
)
def test_wide_depthwise_kernels_learn_as_torch_teaches_them(kernel, stride, padding, side, bias, form):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, padding, groups=6, bias=bias).to(memory_format=form)
    x = torch.randn(4, 6, side, side).to(memory_format=form)
    plain, expected = gradients(layer, x, quick=False)
    out, found = gradients(layer, x, quick=True)
    assert "Depthwise" in type(out.grad_fn).__name__
    assert torch.equal(out, plain)
    for own, known in zip(found, expected, strict=True):
        torch.testing.assert_close(own, known)


@pytest.mark.parametrize(
    ("layer", "side"),
    [
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), 8),
        (nn.Conv2d(6, 6, 5, padding=2), 8),
        (nn.Conv2d(6, 12, 5, padding=2, groups=6), 8),
        (nn.Conv2d(6, 6, 5, padding=2, groups=6, dilation=2), 12),
        (nn.Conv2d(6, 6, 5, padding="same", groups=6), 8),
        (nn.Conv2d(6, 6, 5, stride=2, groups=6), 40),
    ],
    ids=["narrow", "not depthwise", "two outputs per input", "dilated", "padding by name", "strided over much"],
)
def test_all_others_are_torchs_own(layer, side):
    with quick_gradients(CPU):
        assert "Depthwise" not in type(layer(torch.randn(2, 6, side, side)).grad_fn).__name__


def test_nothing_is_different_where_nothing_trains():
    layer = nn.Conv2d(6, 6, 5, padding=2, groups=6)
    with torch.no_grad(), quick_gradients(CPU):
        assert torch.equal(
            layer(x := torch.ones(2, 6, 8, 8)), functional.conv2d(x, layer.weight, layer.bias, 1, 2, 1, 6)
        )
    layer.requires_grad_(requires_grad=False)
    with quick_gradients(CPU):
        assert layer(torch.ones(2, 6, 8, 8)).grad_fn is None
