// Step 11, fourth part: the same sums through two curves, one of which makes most of them exactly 0.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { readout, percent } = Page;
  const RANGE = { low: -4, high: 3, bins: 70 };
  const TOP = 6; // of the vertical axis
  const local = { layer: 0, found: null, seen: false };
  let box, layers, ask, shape = 0;

  function mount(root, state) {
    box = Page.slot(root, "relu2");
    layers = Page.choice(Page.controls(box), { label: "Block", options: [], onChange: (layer) => { local.layer = layer; offer(); } });
    ask = Page.request(box, state, { task: "countNeurons", draw: (found) => { local.found = found; draw(state); } });
    readout(box, "Measuring …");
    Page.whenSeen(root, () => { local.seen = true; offer(); });
  }

  function offer() {
    if (local.seen) ask.offer({ layer: local.layer, range: RANGE });
  }

  function render(state, change) {
    const { n_layers } = state.model.config;
    if (shape !== n_layers) {
      shape = n_layers;
      layers.fill(Array.from({ length: n_layers }, (_, i) => ({ value: i, label: String(i) })));
      local.layer = layers.value;
    }
    if (change === "pin" || change === "resize") return void draw(state);
    if (change === "theme") return;
    local.found = null; // it was that of another text
    offer();
  }

  function draw(state) {
    const { found } = local;
    if (!found) return;
    const { low, high, bins } = RANGE, width = (high - low) / bins, most = Math.max(1, ...found.counts);
    const at = Array.from({ length: 141 }, (_, i) => low + ((high - low) * i) / 140);
    const curve = (name, hue) => ({ name: Page.neuronCurves[name].name, hue,
      points: at.map((z) => [z, Page.neuronCurves[name].at(z)]).filter(([, y]) => y <= TOP) });
    Page.linePlot(box, { label: "GELU and ReLU² over the sums of the neurons; the columns show where the prompt's sums are", x: "sum z of a neuron",
      y: "what the neuron gives", height: 260, yMin: -0.5, yMax: TOP, series: [curve("gelu", "neutral"), curve("relu2", "feed-forward")],
      columns: Array.from(found.counts, (n, i) => ({ from: low + i * width, to: low + (i + 1) * width, y: -0.5 + (2.5 * n) / most, hue: "residual" })) });
    tell(state, found);
  }

  function tell(state, { zeros, all, positive, below, above }) {
    const { feed_forward } = state.model.config.variant, F = all / state.ids.length, { pinned } = state;
    const own = { relu2: "ReLU² is this model's own curve.", swiglu: "This model has SwiGLU: the sums are those of its gate, and neither curve is its own." }[feed_forward]
      ?? "The sums are those of a model that was trained with GELU; one trained with ReLU² makes its own.";
    const outside = below + above ? ` Of the sums, ${percent((below + above) / all)} are outside the picture.` : "";
    const made = (n) => (n === 0 ? "none" : `${n.toLocaleString("en-US")} (${percent(n / all)})`);
    readout(box, `Block ${local.layer}, the whole prompt: ${all.toLocaleString("en-US")} sums, ${F} for each token. Exactly 0 after GELU: ${made(zeros.gelu)}; after ReLU²: ${made(zeros.relu2)}. `
      + `At the pinned ${state.shown()[pinned]}, ${positive[pinned]} of ${F} neurons fire under ReLU². ${own}${outside}`);
  }

  Page.step("ladder", { mount, render });
})();
