"""Winograd's convolutions are the plain sum's, within rounding, and go where they are meant to go."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.models import kernels, winograd
from bloodsearch.models.convolution import Convolution
from bloodsearch.models.norms import norm_relu

# n, inputs, outputs, height, width: one tile and many, odd sides, one and two vectors, several blocks
SHAPES = [
    (1, 8, 8, 1, 1),
    (2, 8, 24, 3, 5),
    (3, 24, 8, 4, 4),
    (5, 16, 32, 7, 7),
    (2, 40, 16, 9, 14),
    (21, 16, 16, 14, 14),
    (3, 8, 16, 28, 28),
    (130, 32, 8, 3, 3),
]
TOLERANCE = 2e-5
"""Of the largest value. Float32 rounds to 6e-8; the transforms multiply by up to 8 in each direction."""


@pytest.fixture(autouse=True)
def _avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the build that has the kernels, on any processor that can run it, in one thread."""
    if not kernels.is_usable("avx2"):
        pytest.skip("no kernels for AVX2 here")
    monkeypatch.setattr(kernels, "build_name", lambda: "avx2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(kernels, "_is_avx2", lambda: True)


def normal(*shape: int, seed: int) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.to(memory_format=torch.channels_last)


def error(found: torch.Tensor | None, wanted: torch.Tensor | None) -> float:
    """Return the largest difference as a share of the largest value."""
    assert found is not None
    assert wanted is not None
    return ((found.double() - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_plain_sum(
    shape: tuple[int, ...], biased: bool
) -> None:
    n, n_in, n_out, h, w = shape
    x, g = normal(n, n_in, h, w, seed=0), normal(n, n_out, h, w, seed=1)
    weight, bias = normal(n_out, n_in, 3, 3, seed=2), torch.arange(float(n_out))
    found = [t.clone().requires_grad_() for t in ((x, weight, bias) if biased else (x, weight))]
    wanted = [t.detach().double().requires_grad_() for t in found]
    y = winograd.Convolve.apply(*found[:2], found[2] if biased else None)
    plain = F.conv2d(wanted[0], wanted[1], wanted[2] if biased else None, padding=1)
    y.backward(g)
    plain.backward(g.double())
    assert y.shape == plain.shape
    assert error(y, plain) < TOLERANCE
    for ours, theirs in zip(found, wanted, strict=True):
        assert error(ours.grad, theirs.grad) < TOLERANCE


def test_the_transforms_have_values_when_weights_without_memory_import_them_first() -> None:
    """A worker's first act can be to count a model's weights."""
    spec = importlib.util.find_spec(winograd.__name__)
    assert spec is not None
    assert spec.loader is not None
    anew = importlib.util.module_from_spec(spec)
    with torch.device("meta"):
        spec.loader.exec_module(anew)
    assert anew._FILTERS.device.type == anew._TURNED.device.type == "cpu"
    x, weight = normal(2, 16, 7, 7, seed=0), normal(8, 16, 3, 3, seed=1)
    assert torch.equal(anew.convolve(x, weight, None), winograd.convolve(x, weight, None))


def test_two_runs_are_equal_to_the_bit() -> None:
    x, weight = normal(9, 16, 14, 14, seed=0), normal(32, 16, 3, 3, seed=1)
    g = normal(9, 32, 14, 14, seed=2)
    works: list[Callable[[], torch.Tensor]] = [
        lambda: winograd.convolve(x, weight, None),
        lambda: winograd.input_gradient(g, weight),
        lambda: winograd.weight_gradient(x, g),
    ]
    for work in works:
        assert torch.equal(work(), work())


def test_an_image_s_result_depends_on_no_other_image() -> None:
    x, weight = normal(9, 16, 14, 14, seed=0), normal(32, 16, 3, 3, seed=1)
    alone = x[4:5].contiguous(memory_format=torch.channels_last)
    assert torch.equal(
        winograd.convolve(x, weight, None)[4:5], winograd.convolve(alone, weight, None)
    )


def test_nan_reaches_the_outputs() -> None:
    x, weight = normal(1, 8, 6, 6, seed=0), normal(8, 8, 3, 3, seed=1)
    x[0, 0, 2, 2] = torch.nan
    assert winograd.convolve(x, weight, None)[0, :, 1:4, 1:4].isnan().all()


def layer_of(n_in: int, n_out: int, side: int = 3) -> Convolution:
    layer = Convolution(n_in, n_out, side, bias=False)
    return layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def test_a_layer_takes_the_kernels_with_and_without_a_gradient() -> None:
    layer, x = layer_of(16, 8), normal(8, 16, 7, 7, seed=0)
    plain = F.conv2d(x, layer.weight, padding=1)
    out = layer(x)
    assert "Convolve" in type(out.grad_fn).__name__
    with torch.no_grad():
        evaluated = layer(x)
    assert torch.equal(out, evaluated)
    assert not torch.equal(out, plain)  # other last bits


@pytest.mark.parametrize(
    ("layer", "dtype", "setting"),
    [
        (lambda: layer_of(3, 16), torch.float32, None),  # the images' channels fill no vector
        (lambda: layer_of(16, 12), torch.float32, None),
        (lambda: layer_of(16, 16, 5), torch.float32, None),
        (lambda: layer_of(16, 16), torch.bfloat16, None),
        (lambda: layer_of(16, 16), torch.float32, "large"),
        (lambda: layer_of(16, 16), torch.float32, "small"),
        (lambda: layer_of(16, 16), torch.float32, "few"),
        (lambda: layer_of(16, 16), torch.float32, "autocast"),
        (lambda: layer_of(16, 16), torch.float32, "torch's default type"),
        (lambda: layer_of(16, 16), torch.float32, "torch's default device"),
        (lambda: layer_of(16, 16), torch.float32, "threads"),
        (lambda: layer_of(16, 16), torch.float32, "processor"),
        (lambda: layer_of(16, 16), torch.float32, "build"),
    ],
)
def test_what_stays_with_onednn(
    monkeypatch: pytest.MonkeyPatch,
    layer: Callable[[], Convolution],
    dtype: torch.dtype,
    setting: str | None,
) -> None:
    made = layer().to(dtype)
    if setting == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    elif setting == "processor":
        monkeypatch.setattr(kernels, "_is_avx2", lambda: False)
    elif setting == "build":
        monkeypatch.setattr(kernels, "build_name", lambda: None)
    side = {"large": winograd.MAX_SIDE + 1, "small": winograd.MIN_SIDE - 1}.get(setting or "", 7)
    n = 7 if setting == "few" else 32
    x = normal(n, made.in_channels, side, side, seed=0).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=setting == "autocast"):
        wanted = F.conv2d(x, made.weight, padding=made.padding)
        with changed_defaults(setting):
            found = made(x)
    assert torch.equal(found, wanted)


@contextlib.contextmanager
def changed_defaults(setting: str | None) -> Iterator[None]:
    """Change what `torch.empty` makes, as a program around this one may."""
    if setting == "torch's default type":
        torch.set_default_dtype(torch.float64)
    elif setting == "torch's default device":
        torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def test_a_layer_that_does_not_fit_its_input_says_so() -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        layer_of(16, 16)(normal(8, 24, 7, 7, seed=0))


def test_batch_normalisation_in_float32_goes_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(4, 16, 7, 7, seed=0).requires_grad_()
    out = norm_relu(x, torch.nn.BatchNorm2d(16), None)
    assert "NormRelu" in type(out.grad_fn).__name__
    monkeypatch.setattr(kernels, "_is_avx2", lambda: False)
    plain = norm_relu(x, torch.nn.BatchNorm2d(16), None)
    assert "NormRelu" not in type(plain.grad_fn).__name__
    assert torch.allclose(out, plain, atol=1e-5)
