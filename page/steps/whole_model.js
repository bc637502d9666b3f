// Step 6: the next token, the logit lens, and where the parameters are.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const MOST_PRODUCTS = 6e7; // of the lens at one edit: about 60 ms
  const CELL = 58;
  let slots, ask;

  function mount(root, state) {
    slots = Object.fromEntries(["output", "lens", "parts"].map((name) => [name, Page.slot(root, name)]));
    const draw = (table, { from, to }) => drawLens(state, table, from, to);
    ask = Page.request(slots.lens, state, { task: "lens", label: "Read every layer", turns: true, draw, progress: draw });
  }

  function render(state, change) {
    if (change !== "theme") showOutput(state);
    if (change !== "theme") askLens(state);
    if (change === "model") showParts(state);
  }

  function showOutput({ trace, pinned, ids, tokenizer }) {
    const p = Page.softmax(trace.logits(pinned)), next = ids[pinned + 1];
    const order = Page.largest(p, 10);
    if (next !== undefined && !order.includes(next)) order.push(next);
    Page.bars(slots.output, {
      label: "Probabilities of the next token", max: 1, hue: "probability",
      items: order.map((v) => ({ label: tokenizer.show(v) + (v === next ? " ✓" : ""), value: p[v], text: Page.percent(p[v]) })),
    });
    const truth = next === undefined ? "The pinned token is the last one; nothing follows it yet."
      : `In your prompt ${tokenizer.show(next)} follows (✓), to which the model gives ${Page.percent(p[next])}: a surprise of ${Page.format(-Math.log(p[next]))} nats.`;
    Page.readout(slots.output, `After ${tokenizer.show(ids[pinned])} the likeliest token is ${tokenizer.show(order[0])} with ${Page.percent(p[order[0]])}. ${truth}`);
  }

  /** Columns that fit next to each other, the pinned one among them. */
  function askLens({ model, engine, ids, pinned }) {
    const { n_layers: L, d_model: D, vocab_size: V } = model.config;
    const fit = Math.floor((Page.widthOf(slots.lens) - 80) / CELL);
    const afford = engine.isLocal ? Math.floor(MOST_PRODUCTS / ((L + 1) * D * V)) : fit;
    const room = Math.max(1, Math.min(fit, afford)), to = Math.min(ids.length, Math.max(pinned + 1, room));
    ask.offer({ from: Math.max(0, to - room), to });
  }

  function drawLens(state, { tokens, probabilities }, from, to) {
    const { model, ids, pinned, tokenizer } = state, { n_layers: L } = model.config, T = to - from;
    const texts = Array.from(tokens, (id, i) => (Number.isNaN(probabilities[i]) ? "" : tokenizer.show(id))), shown = state.shown();
    const layers = ["embedding", ...Array.from({ length: L }, (_, i) => `block ${i}`)];
    Page.heatMap(slots.lens, {
      label: "Logit lens", rows: L + 1, columns: T, values: probabilities, texts, max: 1, hue: "probability",
      rowLabels: layers, columnLabels: shown.slice(from, to), cell: CELL, cellHeight: 26, selected: [L, pinned - from],
      describe: (r, c) => `After ${layers[r]}, at ${shown[from + c]}: ${Number.isNaN(probabilities[r * T + c]) ? "not computed yet"
        : `${texts[r * T + c]} with ${Page.percent(probabilities[r * T + c])}`}`,
      onSelect: (_, c) => state.pin(from + c),
    });
    const known = layers.filter((_, r) => !Number.isNaN(probabilities[r * T + pinned - from]));
    const column = known.map((name, r) => `${name} ${texts[r * T + pinned - from]} (${Page.percent(probabilities[r * T + pinned - from])})`);
    Page.readout(slots.lens, `At the pinned token: ${column.join(" → ")}.${T < ids.length ? ` Shown are ${T} of ${ids.length} tokens.` : ""}`
      + (model.config.variant.tied_embeddings ? "" : " This model's output has a table of its own, so the first row need not echo the token."));
  }

  /** Which part of the model a tensor belongs to, the first that fits; the last three are not in every model. */
  const partsOf = (normName) => [
    ["token embedding", "probability", /^token_embedding\./], ["attention", "attention", /\.attention\.(?!value_embedding)/],
    ["feed-forward", "feed-forward", /\.feed_forward\./], [normName, "residual", /norm\./],
    ["output table", "probability", /^output\./], ["learned positions", "position", /^positions\./],
    ["value embeddings", "probability", /\.value_embedding\./], ["mixtures", "residual", /\.(keep|skip)$/],
  ];

  function showParts({ model }) {
    const parts = partsOf(model.parts.normName), counts = parts.map(() => 0);
    for (const [name, { shape }] of model.parameters) {
      counts[parts.findIndex(([, , pattern]) => pattern.test(name))] += shape.reduce((a, b) => a * b, 1);
    }
    const total = counts.reduce((a, b) => a + b), items = parts.map(([label, hue], i) =>
      ({ label, hue, value: counts[i], text: counts[i].toLocaleString("en-US") }));
    Page.bars(slots.parts, { label: "Parameters by part", wide: true, items: items.filter(({ value }, i) => i < 4 || value > 0) });
    const { n_layers, n_heads, d_model, d_ff, vocab_size } = model.config;
    Page.readout(slots.parts, `${total.toLocaleString("en-US")} parameters: ${n_layers} blocks of ${n_heads} heads, D = ${d_model}, F = ${d_ff}, V = ${vocab_size.toLocaleString("en-US")}.`);
  }

  Page.step("whole_model", { mount, render });
})();
