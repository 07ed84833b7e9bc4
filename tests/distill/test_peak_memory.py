"""Live bytes, counted on tensors without content, against cases that can be added up by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from distill.costs import Microbenchmark
from distill.costs.measure import peak
from distill.costs.networks import classifier, weight_bytes
from distill.costs.peak_memory import FusedAttention, LiveTensorTracker, LoweredPrecision
from distill.models.training import moving_average

BATCH, WIDTH, LAYERS = 64, 8, 5
SQUARE, ROWS = WIDTH * WIDTH, BATCH * WIDTH  # numbers of a layer's weight, and of what it gives


def chain():
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))


def learning(device):
    with torch.device(device):
        model, given, gradient = chain(), torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)
    return lambda: model(given).backward(gradient)


def test_a_chain_holds_its_weights_its_input_and_two_activations():
    assert peak(classifier("chain", chain, (WIDTH,), BATCH)) == 4 * (LAYERS * SQUARE + ROWS + 2 * ROWS)


def test_a_gradient_holds_every_activation():
    """Weights and the last step's gradients; input and all activations; the gradients before and behind a layer, its weight's."""
    expected = 4 * (2 * LAYERS * SQUARE + ROWS + LAYERS * ROWS + 2 * ROWS + SQUARE)
    assert peak(Microbenchmark("a chain that learns", BATCH, learning, learns=True)) == expected


def test_in_half_precision_activations_weigh_half_and_every_weight_is_there_twice():
    """The input in both precisions only while the first layer works, beside the first of the lowered weights."""
    expected = 4 * (LAYERS * SQUARE + ROWS) + 2 * (LAYERS * SQUARE + 2 * ROWS)
    assert peak(classifier("chain", chain, (WIDTH,), BATCH, "bfloat16")) == expected


def test_views_and_what_is_done_in_place_take_nothing():
    with LiveTensorTracker() as living:
        given = torch.empty(10, 6, device="meta")
        assert living.now == living.peak == 240
        seen = given.view(60)[3:].relu_().add_(1)
        given.t().unfold(0, 2, 1)
        assert living.now == living.peak == 240
        other = seen + 1
        assert living.now == living.peak == 240 + 228
        del given
        assert living.now == 240 + 228, "a view keeps what it looks at"
        del seen
        assert (living.now, living.peak) == (228, 468)
        del other
        assert (living.now, living.peak) == (0, 468)


@pytest.mark.parametrize("mask", [None, torch.bool, torch.float32])
def test_attention_makes_no_square_matrices(mask):
    points, width = 512, 16

    def attends():
        query = torch.empty(1, 2, points, width, device="meta")
        among = None if mask is None else torch.empty(points, points, device="meta", dtype=mask)
        return F.scaled_dot_product_attention(query, query, query, among)

    with LiveTensorTracker() as whole:
        answer = attends()
    with LiveTensorTracker() as fused, FusedAttention():
        assert attends().shape == answer.shape
    # A mask of truths is added as numbers.
    there = 4 * 2 * answer.numel() + points * points * {None: 0, torch.bool: 1 + 4, torch.float32: 4}[mask]
    assert there <= fused.peak < there + 100, "and a seed"
    assert whole.peak > there + 4 * 2 * points * points


def test_gradients_go_through_the_fused_attention():
    query, bias = (torch.empty(*shape, device="meta", requires_grad=True) for shape in ((1, 2, 8, 16), (1, 1, 8, 8)))
    with FusedAttention():
        F.scaled_dot_product_attention(query, query, query, bias).sum().backward()
    assert query.grad.shape == query.shape
    assert bias.grad.shape == bias.shape


def test_precisions_are_those_of_autocast_on_a_gpu():
    """As torch lists them: products low, norms and the softmax in float32, the rest as it comes."""
    given, weights = torch.empty(2, 4, 8, device="meta"), torch.empty(8, 8, device="meta")
    with LoweredPrecision(torch.bfloat16):
        low = F.linear(given, weights)
        found = [low, given @ weights, given.matmul(weights), torch.einsum("abc,cd->abd", given, weights), low.relu(), low + low]
        assert {each.dtype for each in found} == {torch.bfloat16}
        whole = [F.layer_norm(low, (8,)), low.softmax(-1), F.softmax(low, dim=-1), low.sum(), low.exp(), low + given]
        assert {each.dtype for each in whole} == {torch.float32}
        assert low.softmax(-1, dtype=torch.float16).dtype == torch.float16


def test_optimizers_keep_what_is_said(digits_prior):
    """The moments of AdamW and the moving average of weights, of a transformer as it is trained here."""
    model = digits_prior.untrained()
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = [each for state in optimizer.state.values() for each in (state["exp_avg"], state["exp_avg_sq"])]
    average = list(moving_average(model, 0.9).module.parameters())
    assert sum(4 * each.numel() for each in [*moments, *average]) == weight_bytes(digits_prior.untrained, 3).value


@pytest.fixture
def digits_prior(by_title):
    return by_title["prior"]


class Awkward(nn.Module):
    """Gives attention its arguments by name, and a softmax the kind of its answer by place."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        heads = self.layer(x).reshape(len(x), 1, 2, WIDTH // 2)
        attended = F.scaled_dot_product_attention(query=heads, key=heads, value=heads).flatten(1)
        return torch.softmax(attended, 1, torch.float32)


def test_networks_are_counted_however_they_name_what_they_give():
    assert peak(classifier("awkward", Awkward, (WIDTH,), BATCH, "bfloat16", learns=True)) > 4 * ROWS


def test_what_can_not_be_counted_has_no_peak():
    def on(device):
        def run():
            raise RuntimeError("of meta tensors there is no content")

        return run

    assert peak(Microbenchmark("uncountable", 1, on)) is None
    assert peak(Microbenchmark("no network", 1, on, network=False)) is None
