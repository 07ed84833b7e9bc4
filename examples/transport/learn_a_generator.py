r"""
Learning by gradients of W₂
===========================

Costs of transport are differentiable in points and weights: one exact solve gives value and gradient (the envelope theorem).
A small network learns to send noise to data; 64 weighted codes stand for the data, so that a step costs little.
"""

import matplotlib.pyplot as plt
import torch

import quantization as qz

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
torch.manual_seed(0)
angle = 6.2832 * torch.rand(2000, generator=generator)
data = torch.stack([angle.cos(), angle.sin()], 1) + 0.08 * torch.randn(2000, 2, generator=generator)
target = qz.quantize(data, 64, rng=0).measure

network = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
losses = []
for _ in range(250):
    loss = qz.transport(network(torch.randn(200, 2, generator=generator)), target).cost
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(losses[0], "→", losses[-1])

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
left.semilogy(losses)
left.set(xlabel="step", title="$W_2^2$ of a batch and the codes")
with torch.no_grad():
    right.scatter(*data.T, s=2, alpha=0.3)
    right.scatter(*network(torch.randn(500, 2, generator=generator)).T, s=8, c="crimson")
right.set(title="data, and what the network makes of noise", aspect="equal")
plt.show()
