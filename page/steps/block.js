// Step 5: who writes what into the residual stream, and what breaks when a part is missing.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const local = { part: "none" };
  let slots, parts, ask, shape = "";

  function mount(root, state) {
    slots = { shares: Page.slot(root, "shares"), drop: Page.slot(root, "without") };
    ask = Page.request(slots.drop, state, { task: "without", label: "Compute without it", turns: true, draw: (both, question) => showDrop(state, both, question) });
    parts = Page.choice(Page.controls(slots.drop), { label: "Drop", options: [], onChange: (part) => { local.part = part; askDrop(state); } });
  }

  function render(state, change) {
    const { n_layers } = state.model.config;
    const norms = `all ${state.model.parts.normName}s`;
    if (shape !== `${n_layers} ${norms}`) {
      shape = `${n_layers} ${norms}`;
      const sublayers = Array.from({ length: n_layers }, (_, i) => [
        { value: `blocks.${i}.attention.output`, label: `attention ${i}` },
        { value: `blocks.${i}.feed_forward.output`, label: `feed-forward ${i}` },
      ]).flat();
      parts.fill([{ value: "none", label: "nothing" }, ...sublayers,
        { value: "residual", label: "all residual connections" }, { value: "norm", label: norms }]);
      local.part = parts.value;
    }
    if (change === "theme") return;
    showShares(state);
    askDrop(state);
  }

  /** Everything that was added to make the final stream at position t, in order. A block that
   *  starts from λ₁ · stream + λ₂ · embedding scales what is there and adds the embedding again. */
  function writes({ trace, model }, t) {
    const row = (name) => trace.row(name, t), times = (values, factor) => values.map((value) => value * factor);
    let all = [{ name: "embedding", values: row("embedding"), hue: "residual" }];
    model.blocks.forEach(({ keep = 1, skip = 0 }, i) => {
      all = all.map((write) => ({ ...write, values: times(write.values, keep) }));
      all[0].values = Page.add(all[0].values, times(row("embedding"), skip));
      all.push({ name: `attention ${i}`, values: row(`blocks.${i}.attention.output`), hue: "attention" },
        { name: `feed-forward ${i}`, values: row(`blocks.${i}.feed_forward.output`), hue: "feed-forward" });
    });
    return all;
  }

  function showShares(state) {
    const { trace, model, pinned } = state, D = model.config.d_model;
    const final = trace.row(`blocks.${model.config.n_layers - 1}.residual`, pinned);
    const length2 = Page.dot(final, 0, final, 0, D);
    const all = writes(state, pinned).map((write) => ({ ...write, length: Page.norm(write.values),
      share: Page.dot(write.values, 0, final, 0, D) / length2 }));
    Page.bars(slots.shares, {
      label: "Share of each write in the final vector", wide: true, max: state.steady("shares", Math.max(...all.map(({ share }) => Math.abs(share)))),
      items: all.map(({ name, share, hue, length }) => ({ label: name, value: share, hue, text: `${Page.percentSigned(share)} · ${length.toFixed(1)}` })),
    });
    const total = all.reduce((sum, { share }) => sum + share, 0);
    const top = Page.largest(all.map(({ share }) => share), 1)[0];
    const mixed = model.config.variant.input_skip
      ? " In this model each block starts from a learned mixture of the stream and the embedding: lengths and shares are what is left of each write at the end." : "";
    Page.readout(slots.shares, `Next to each bar: share and length. The length of the final vector is ${Math.sqrt(length2).toFixed(1)}, that of the embedding ${all[0].length.toFixed(1)}. `
      + `Largest share: ${all[top].name} with ${Page.percentSigned(all[top].share)}. All shares together: ${(100 * total).toFixed(1)} %.${mixed}`);
  }

  /** As many tokens, up to `most`, as a whole pass can be computed for while somebody types; a
   *  large model's reader has pressed a button. */
  function affordable({ model, engine }, most) {
    return engine.isLocal ? Math.max(6, Math.min(most, Math.floor(1.2e8 / model.parameterCount))) : most;
  }

  function askDrop(state) {
    ask.offer({ ids: state.ids.slice(0, state.pinned + 1).slice(-affordable(state, 32)), part: local.part });
  }

  function showDrop({ model, pinned, tokenizer }, [before, after], { ids: shown }) {
    const V = model.config.vocab_size, a = before.loss, b = after.loss;
    Page.compareBars(slots.drop, tokenizer, before.last, after.last, "residual");
    const span = shown.length < pinned + 1 ? `the ${shown.length} tokens up to the pinned one` : "the text up to the pinned token";
    Page.readout(slots.drop, shown.length < 2 ? "The loss needs a second token: type some text."
      : `Loss on ${span}: ${a.toFixed(2)} nats per token${local.part === "none" ? " with nothing dropped" : `, ${b.toFixed(2)} without this part`}; `
        + `a model that guesses evenly would have ${Math.log(V).toFixed(2)} = ln ${V.toLocaleString("en-US")}.`);
  }

  Page.percentSigned = (share) => `${share < 0 ? "−" : ""}${(100 * Math.abs(share)).toFixed(1)} %`;
  Object.assign(Page, { writes, affordable });
  Page.step("block", { mount, render });
})();
