"""Every tap of a forward pass, in the page and in PyTorch, and the trace that figures read."""

from typing import Any

import torch
from torch import Tensor, nn

RECORD = """(ids) => {
  const out = {};
  const tap = (name, values) => {
    let binary = "";
    for (const byte of new Uint8Array(values.buffer)) binary += String.fromCharCode(byte);
    out[name] = btoa(binary);
  };
  Page.state.model.forward(ids, { tap });
  return out;
}"""
TRACE = """(texts) => {
  const { model, tokenizer } = Page.state, trace = new Page.Trace(model);
  let worst = 0, names = 0;
  const kept = texts.map((text) => {
    const ids = [tokenizer.endOfText, ...tokenizer.encode(text)];
    const kept = trace.update(ids), T = ids.length;
    const tap = (name, values, shape) => {
      names++;
      const seen = name === "logits" ? values : trace.get(name);
      if (seen.length !== values.length) worst = Infinity;
      const hides = /scores$/.test(name);
      values.forEach((v, i) => {
        if (hides && i % T > Math.floor(i / T) % T) return; // scores of masked keys
        worst = Math.max(worst, Math.abs(v - seen[i]));
      });
      if (name === "logits") trace.logits(T - 1).forEach((v, i) => {
        worst = Math.max(worst, Math.abs(v - values[(T - 1) * shape[1] + i]));
      });
    };
    model.forward(ids, { tap });
    return kept;
  });
  return { worst, kept, names };
}"""


def record(model: nn.Module, ids: list[int]) -> dict[str, Tensor]:
    """Every tap of one forward pass, by the names that both sides share."""
    values: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Identity) or name == "final_norm":

            def keep(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                values[name] = output[0]

            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return values
