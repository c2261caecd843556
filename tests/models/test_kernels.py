"""The kernels give torch's values and gradients: to the bit where that is promised, else within rounding."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bloodsearch.models import kernels
from bloodsearch.models.norms import norm_relu, pool_norm_relu
from bloodsearch.models.pooling import max_pool
from bloodsearch.search import env

pytestmark = pytest.mark.skipif(kernels.build_name() is None, reason="no compiled kernels here")

SHAPES = [(3, 32, 28, 28), (2, 5, 7, 7), (1, 1, 2, 3), (4, 24, 3, 3), (1, 17, 9, 4)]
DTYPES = [torch.float32, torch.bfloat16]
Work = Callable[[torch.Tensor], torch.Tensor]


def maps(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Return rounded normal values, so that equal maxima and both zeros are among them."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (4 * x).round().div(4).to(dtype).to(memory_format=torch.channels_last)


def with_gradient(work: Work, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output of `work` and the gradient of its input, for a fixed gradient of the output."""
    source = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = work(source)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(x.dtype)
    out.backward(grad)  # in contiguous memory
    assert source.grad is not None
    return out.detach(), source.grad


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether two tensors are equal, NaN for NaN."""
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(7), b.nan_to_num(7))


def norm_of(n_channels: int, *, training: bool) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(n_channels).train(training)
    generator = torch.Generator().manual_seed(2)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.data = torch.rand(n_channels, generator=generator) + 0.5
    return norm


@pytest.mark.parametrize("special", [None, torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pooling_is_torchs(
    shape: tuple[int, ...], dtype: torch.dtype, relu: bool, special: float | None
) -> None:
    x = maps(shape, dtype)
    if special is not None:
        x[torch.rand(shape, generator=torch.Generator().manual_seed(4)) < 0.2] = special
    wanted = with_gradient(lambda x: F.max_pool2d(x, 2).relu() if relu else F.max_pool2d(x, 2), x)
    found = with_gradient(lambda x: max_pool(x, relu=relu), x)
    assert same(found[0], wanted[0])
    assert same(found[1], wanted[1])


@pytest.mark.parametrize("special", [None, torch.nan, torch.inf])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_relu_and_residual_sum_are_torchs(
    shape: tuple[int, ...], dtype: torch.dtype, residual: bool, special: float | None
) -> None:
    x, other = maps(shape, dtype), maps(shape, dtype, seed=3)
    if special is not None:
        x[0, 0, 0, 1] = special
    shortcut = other if residual else None
    wanted = with_gradient(lambda x: other + x.relu() if residual else x.relu(), x)
    found = with_gradient(lambda x: norm_relu(x, nn.Identity(), shortcut), x)
    assert same(found[0], wanted[0])
    assert same(found[1], wanted[1])


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] > 1])
def test_batch_norm_is_torchs_up_to_rounding(shape: tuple[int, ...], pool: bool) -> None:
    """Values, all gradients and the running statistics, beside float32 from the same bfloat16 values."""
    x, results = maps(shape, torch.bfloat16), []
    for dtype in (torch.float32, torch.bfloat16):
        norm = norm_of(shape[1], training=True)
        shortcut = None if pool else maps(shape, dtype, seed=3).requires_grad_()
        work = (
            partial(pool_norm_relu, norm=norm)
            if pool
            else partial(norm_relu, norm=norm, residual=shortcut)
        )
        out, g_x = with_gradient(work, x.to(dtype))
        assert norm.weight.grad is not None
        assert norm.bias.grad is not None
        found = [out, g_x, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
        if shortcut is not None:
            found.append(shortcut.grad)
        results.append([tensor.float() for tensor in found if tensor is not None])
        assert norm.num_batches_tracked == 1
    for wanted, ours in zip(*results, strict=True):
        assert float((ours - wanted).norm()) <= 0.006 * float(wanted.norm()) + 1e-3


def test_batch_norm_in_evaluation_is_torchs_up_to_rounding() -> None:
    x = maps((3, 24, 7, 7), torch.bfloat16)
    norm = norm_of(24, training=False)
    with torch.inference_mode():
        for ours, wanted in (
            (pool_norm_relu(x, norm), norm(F.max_pool2d(x.float(), 2)).relu()),
            (norm_relu(x, norm, x), norm(x.float()).relu() + x.float()),
        ):
            torch.testing.assert_close(ours.float(), wanted, rtol=0.01, atol=0.01)
    # a gradient in evaluation, as a saliency map needs it, takes torch's path
    x.requires_grad_()
    pool_norm_relu(x, norm).sum().backward()
    assert x.grad is not None


def test_one_value_per_channel_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_relu(maps((1, 4, 1, 1), torch.bfloat16), norm_of(4, training=True), None)


def test_float32_takes_torchs_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "on_one_avx2_core", lambda: False)
    x, norm = maps((2, 8, 6, 6), torch.float32), norm_of(8, training=True)
    assert torch.equal(pool_norm_relu(x, norm), norm(F.max_pool2d(x, 2)).relu())


def test_a_nan_spreads_over_its_channel() -> None:
    x, norm = maps((2, 8, 6, 6), torch.bfloat16), norm_of(8, training=True)
    x[0, 3, 2, 2] = torch.nan
    assert norm_relu(x, norm, None).isnan().sum() == 2 * 36


def test_other_memory_takes_torchs_path() -> None:
    contiguous = torch.randn(2, 3, 6, 6)
    assert not kernels.usable(contiguous)
    assert not kernels.usable(contiguous.double().to(memory_format=torch.channels_last))


def test_the_environment_page_names_the_variable() -> None:
    assert env.KERNELS == kernels.VARIABLE


@pytest.mark.parametrize("build", ["generic", "avx2"])
def test_every_build_gives_the_same_bits(build: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernels.is_usable(build):
        pytest.skip(f"the build {build} is not here")

    def results() -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for dtype in DTYPES:
            x, norm = maps((4, 24, 9, 9), dtype), norm_of(24, training=True)
            found += with_gradient(lambda x: max_pool(x, relu=True), x)
            found += with_gradient(partial(pool_norm_relu, norm=norm), x)
            found += with_gradient(partial(norm_relu, norm=norm, residual=x), x)
            found += [
                tensor for tensor in (norm.weight.grad, norm.running_var) if tensor is not None
            ]
        return found

    wanted = results()
    monkeypatch.setattr(kernels, "build_name", lambda: build)
    assert all(map(torch.equal, results(), wanted))


def not_float32(norm: nn.BatchNorm2d) -> None:
    norm.bfloat16()


def without_momentum(norm: nn.BatchNorm2d) -> None:
    norm.momentum = None


def without_statistics(norm: nn.BatchNorm2d) -> None:
    norm.running_mean = norm.running_var = None


def without_parameters(norm: nn.BatchNorm2d) -> None:
    norm.register_parameter("weight", None)
    norm.register_parameter("bias", None)


@pytest.mark.parametrize(
    "change", [not_float32, without_momentum, without_statistics, without_parameters]
)
def test_a_norm_that_the_kernels_cannot_read_stays_with_torch(
    change: Callable[[nn.BatchNorm2d], None],
) -> None:
    norm, twin = norm_of(8, training=True), norm_of(8, training=True)
    change(norm)
    change(twin)
    x = maps((2, 8, 6, 6), torch.bfloat16)
    assert torch.equal(norm_relu(x, norm, None), torch.relu(twin(x)))


@pytest.mark.parametrize("mean", [0.0, 30.0, -100.0])
def test_values_far_from_zero_keep_their_variance(
    mean: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of squares less the square of the mean is rounding alone there."""
    monkeypatch.setattr(kernels, "on_one_avx2_core", lambda: True)
    norm, twin = norm_of(8, training=True), norm_of(8, training=True).double()
    x = (mean + 0.01 * torch.randn(4, 8, 28, 28, generator=torch.Generator().manual_seed(0))).to(
        memory_format=torch.channels_last
    )
    out = norm_relu(x, norm, None)
    assert "NormRelu" in type(out.grad_fn).__name__
    wanted = torch.relu(twin(x.double()))
    assert torch.allclose(out.double(), wanted, atol=2e-3 if mean else 1e-5)
    assert norm.running_var is not None
    assert twin.running_var is not None
    assert torch.allclose(norm.running_var.double(), twin.running_var, rtol=1e-6)


def test_a_norm_of_other_channels_says_so() -> None:
    with pytest.raises(RuntimeError):
        norm_relu(maps((2, 16, 6, 6), torch.bfloat16), norm_of(8, training=True), None)


def test_a_residual_of_another_shape_or_type_is_added_by_torch() -> None:
    x = maps((2, 8, 6, 6), torch.bfloat16)
    for residual in (maps((1, 8, 6, 6), torch.bfloat16), maps((2, 8, 6, 6), torch.float32)):
        for norm in (norm_of(8, training=False), nn.Identity()):
            with torch.no_grad():
                wanted = residual + torch.relu(norm(x))
                assert torch.equal(norm_relu(x, norm, residual), wanted)


def test_one_value_for_each_channel_after_the_pooling_is_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        pool_norm_relu(maps((1, 8, 3, 3), torch.bfloat16), norm_of(8, training=True))


def test_in_evaluation_parameters_and_residual_have_their_gradients() -> None:
    norm, x = norm_of(8, training=False), maps((2, 8, 6, 6), torch.bfloat16)
    residual = maps((2, 8, 6, 6), torch.bfloat16, seed=1).requires_grad_()
    norm_relu(x, norm, residual).sum().backward()
    assert norm.weight.grad is not None
    assert residual.grad is not None


def test_a_build_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update whose kernels take other arguments, they would read what is not there."""
    build = kernels.build_name()
    assert build is not None
    assert not kernels.is_old(build)
    monkeypatch.setattr(kernels.sources, "version", lambda folder: "0123456789abcdef")
    assert kernels.is_old(build)
    assert not kernels.is_usable(build)
    monkeypatch.setattr(kernels.sources, "version", lambda folder: None)  # a wheel has no sources
    assert kernels.is_usable(build)


def test_a_processor_that_lacks_an_instruction_gets_the_generic_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "fma3": False})
    assert not kernels.is_usable("avx2")
    assert not kernels.is_usable("avx512")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the builds are for x86-64")
@pytest.mark.parametrize("flags", ["", "-march=x86-64-v4 -mavx512bf16"], ids=["generic", "avx512"])
def test_the_systems_compiler_takes_the_sources(flags: str) -> None:
    """Installations compile with another compiler, so an error here would cost speed without a word."""
    source = Path(kernels.__file__).with_name("kernels.c")
    command = ["cc", "-fsyntax-only", '-DSOURCES=""', *flags.split(), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_kernels_the_pooling_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = maps((4, 24, 9, 9), torch.bfloat16)
    wanted = with_gradient(lambda x: max_pool(x, relu=True), x)
    monkeypatch.setattr(kernels, "build_name", lambda: None)
    assert not kernels.usable(x)
    assert all(map(torch.equal, with_gradient(lambda x: max_pool(x, relu=True), x), wanted))
