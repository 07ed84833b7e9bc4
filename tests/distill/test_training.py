import pytest
import torch
from torch import nn

from distill.models.finite import NotFinite
from distill.models.schedules import cycle
from distill.models.training import Batches, moving_average, train
from distill.pipeline.checkpoint import EVERY, Checkpoint
from distill.pipeline.store import write_whole
from distill.recipe import Training


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def options(**changes):
    return Training(**{"steps": 12, "batch": 4, "learning_rate": 0.1, **changes})


@pytest.mark.parametrize(("n", "size"), [(10, 5), (10, 4), (7, 3), (3, 8), (1, 4), (5, 5)])
def test_batches_have_their_size_and_use_every_index_equally_often(n, size):
    batches = Batches(n, size, seeded())
    drawn = [next(batches) for _ in range(3 * n)]
    assert all(batch.shape == (size,) for batch in drawn)
    # 3 n batches of `size` are 3 · size whole passes.
    assert torch.bincount(torch.cat(drawn), minlength=n).tolist() == [3 * size] * n


@pytest.mark.parametrize(("n", "size"), [(10, 4), (3, 8)])
def test_every_pass_is_a_permutation_and_passes_differ(n, size):
    batches = Batches(n, size, seeded())
    line = torch.cat([next(batches) for _ in range(6 * n)])
    passes = line[: len(line) // n * n].reshape(-1, n)
    assert torch.equal(passes.sort(1).values, torch.arange(n).expand_as(passes))
    assert len({tuple(each.tolist()) for each in passes}) > 1


def test_at_any_time_counts_differ_by_one_pass_at_most():
    batches, counts = Batches(7, 3, seeded()), torch.zeros(7, dtype=torch.long)
    for _ in range(50):
        counts += torch.bincount(next(batches), minlength=7)
        assert counts.max() - counts.min() <= 1


def test_batches_follow_the_generator_alone():
    torch.manual_seed(1)
    first = [next(batches) for batches in [Batches(9, 4, seeded(3))] for _ in range(5)]
    torch.manual_seed(2)
    again = [next(batches) for batches in [Batches(9, 4, seeded(3))] for _ in range(5)]
    other = [next(batches) for batches in [Batches(9, 4, seeded(4))] for _ in range(5)]
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(torch.stack(first), torch.stack(other))


def fit(seed=0, *, record=None, trail=None, **changes):
    """A line fitted to a line; returns the model and the losses. trail: takes the weight after every step."""
    torch.manual_seed(seed)
    model = nn.Linear(1, 1)
    x = torch.linspace(-1, 1, 16)[:, None]
    y, losses = 3 * x - 1, []

    def loss(chosen):
        value = (model(x[chosen]) - y[chosen]).square().mean()
        losses.append(float(value.detach()))
        return value

    if trail is not None:
        record = {"after_step": lambda step: trail.append(model.weight.detach().clone())}
    train(model, loss, len(x), options(**changes), seeded(seed), lambda fraction: None, **(record or {}))
    return model, losses


def test_training_is_a_function_of_its_seeds():
    first, again, other = fit()[0], fit()[0], fit(1)[0]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.weight, other.weight)


def test_training_fits():
    model, losses = fit(steps=300)
    assert losses[-1] < 1e-3 * losses[0]
    assert abs(float(model.weight.detach()) - 3) < 0.1


@pytest.mark.parametrize("steps", [*range(1, 22), 99])
def test_any_number_of_steps_can_be_asked_for(steps):
    assert len(fit(steps=steps)[1]) == steps


def test_the_moving_average_is_that_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 2)
    average, expected = moving_average(model, 0.7), None
    for t in range(40):
        weights = torch.randn(2, 3, generator=generator)
        model.weight.data = weights
        average.update_parameters(model)
        beta = min(0.7, (1 + t) / (10 + t))
        expected = weights if expected is None else beta * expected + (1 - beta) * weights
    torch.testing.assert_close(average.module.weight.detach(), expected)


def test_with_ema_the_model_ends_as_its_average():
    (_, losses), (averaged, same_losses) = fit(steps=50), fit(steps=50, record={"ema": 0.9})
    assert losses == same_losses, "averaging does not change the training"
    expected, trail = None, []
    fit(steps=50, trail=trail)
    for t, weight in enumerate(trail):
        beta = min(0.9, (1 + t) / (10 + t))
        expected = weight if expected is None else beta * expected + (1 - beta) * weight
    torch.testing.assert_close(averaged.weight.detach(), expected)


def test_progress_and_steps_are_told_in_order():
    steps, fractions = [], []
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    loss = lambda chosen: model(torch.ones(len(chosen), 1)).square().mean()  # noqa: E731
    train(model, loss, 5, options(steps=8), seeded(), fractions.append, after_step=steps.append)
    assert steps == list(range(1, 9))
    assert fractions == [step / 8 for step in range(1, 9)]


@pytest.fixture
def rates(monkeypatch):
    """The learning rates of all steps, in order, and the one that the next would have."""
    seen = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)

    def run(steps, rate):
        fit(steps=steps, learning_rate=rate)
        return [*seen, cycle(rate, steps, steps)[0]]

    return run


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_zero(rates):
    steps, rate = 200, 0.05
    seen = rates(steps, rate)
    peak = seen.index(max(seen))
    assert max(seen) <= rate * (1 + 1e-12)
    assert abs(peak - steps / 10) <= 1
    assert seen[: peak + 1] == sorted(seen[: peak + 1])
    assert seen[peak:] == sorted(seen[peak:], reverse=True)
    # The cosine's last step is 1/180 of the way from its end: (1 − cos(π/180))/2 = 7.6e-5 of the peak, and it ends at 4e-6 of it.
    assert seen[-2] < 1e-4 * rate
    assert seen[-1] < 1e-5 * rate


def test_weight_decay_is_the_one_asked_for():
    """With a loss that is flat AdamW only shrinks the weights: by the product of 1 − rate · decay over the steps."""

    def shrunk(decay):
        torch.manual_seed(0)
        model = nn.Linear(4, 4, bias=False)
        before = model.weight.detach().clone()
        flat = lambda chosen: 0 * model(torch.ones(len(chosen), 4)).sum()  # noqa: E731
        train(model, flat, 8, options(steps=50), seeded(), lambda fraction: None, weight_decay=decay)
        return float((model.weight.detach() / before).mean())

    assert shrunk(0.0) == 1
    assert 1 > shrunk(0.01) > shrunk(0.1) > shrunk(0.5) > 0


def test_what_is_kept_says_which_share_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv(EVERY, "0")
    torch.manual_seed(0)
    model, checkpoint = nn.Linear(1, 1), Checkpoint(tmp_path, "part", write_whole)
    assert checkpoint.share() == 0

    def stop(fraction):
        if fraction >= 0.5:
            raise KeyboardInterrupt

    loss = lambda chosen: model(torch.ones(len(chosen), 1)).square().mean()  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        train(model, loss, 5, options(steps=8), seeded(), stop, checkpoint=checkpoint)
    assert Checkpoint(tmp_path, "part", write_whole).share() == 3 / 8


@pytest.mark.parametrize("at", [0, 7, 11])
def test_a_loss_that_is_not_finite_ends_the_training_and_is_never_saved(at, tmp_path, monkeypatch):
    """At the first step, on the way, and at the last; the checkpoint is of a step before it."""
    monkeypatch.setenv(EVERY, "0")
    torch.manual_seed(0)
    model, steps = nn.Linear(1, 1), []

    def loss(chosen):
        value = model(torch.ones(len(chosen), 1)).square().mean()
        return value * float("nan") if len(steps) == at else value

    checkpoint = Checkpoint(tmp_path, "part", write_whole)
    with pytest.raises(NotFinite, match=rf"by step {at + 1} a loss is not finite; the learning rate"):
        train(model, loss, 5, options(steps=12), seeded(), lambda fraction: None, after_step=steps.append, checkpoint=checkpoint)
    found = checkpoint.load()
    assert (found[1]["done"] if found else 0) == at
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
