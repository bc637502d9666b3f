// How a step is made of a gradient, as src/transformer/training/{optimizer, scheduler}.py do it.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const [FIRST, SECOND] = [0.9, 0.95]; // β₁ and β₂
  const EPS = 1e-8;
  const FLOOR = 0.1; // share of the peak that remains at the end

  /** AdamW's means after each gradient of one weight, and its move per learning rate:
   *  [{m: m̂, root: √v̂, move: −m̂ / (√v̂ + ε)}]. */
  function adamPath(gradients) {
    let m = 0, v = 0;
    return Array.from(gradients, (g, i) => {
      m = FIRST * m + (1 - FIRST) * g;
      v = SECOND * v + (1 - SECOND) * g * g;
      const mean = m / (1 - FIRST ** (i + 1)), root = Math.sqrt(v / (1 - SECOND ** (i + 1)));
      return { m: mean, root, move: -mean / (root + EPS) };
    });
  }

  /** The learning rate of update number `step`, counted from 1. */
  function learningRate(step, { peak, steps, warmup, fall }) {
    if (step < warmup) return (peak * step) / warmup;
    if (fall === "linear") return (peak * (steps - Math.min(step, steps) + 1)) / (steps - warmup + 1);
    const done = step < steps ? (step - warmup) / (steps - warmup) : 1;
    return peak * (FLOOR + ((1 - FLOOR) * (1 + Math.cos(Math.PI * done))) / 2);
  }

  Object.assign(Page, { adamPath, learningRate });
})();
