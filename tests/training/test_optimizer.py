"""Which parameters decay, and AdamW's arithmetic against its equations."""

import torch

from transformer.model import DecoderOnlyTransformer
from transformer.training.optimizer import BETAS, adamw, set_learning_rate


def test_only_matrices_decay(tiny_model: DecoderOnlyTransformer) -> None:
    optimizer = adamw(tiny_model, learning_rate=0.1, weight_decay=0.5)
    before = {name: p.detach().clone() for name, p in tiny_model.named_parameters()}
    for parameter in tiny_model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in tiny_model.named_parameters():
        share = 0.95 if parameter.dim() == 2 else 1.0
        torch.testing.assert_close(parameter.detach(), share * before[name], msg=name)


def test_two_steps_follow_the_equations() -> None:
    layer = torch.nn.Linear(3, 2, dtype=torch.float64)
    optimizer = adamw(layer, learning_rate=0.01, weight_decay=0.1)
    w = layer.weight.detach().clone()
    m = v = torch.zeros_like(w)
    for t, scale in enumerate((1.0, -0.3), start=1):
        g = scale * torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
        layer.weight.grad, layer.bias.grad = g, torch.zeros(2, dtype=torch.float64)
        optimizer.step()
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g**2
        m_hat, v_hat = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
        w = w - 0.01 * 0.1 * w - 0.01 * m_hat / (v_hat.sqrt() + 1e-8)
        torch.testing.assert_close(layer.weight.detach(), w)


def test_set_learning_rate(tiny_model: DecoderOnlyTransformer) -> None:
    optimizer = adamw(tiny_model, 0.1, 0.1)
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
