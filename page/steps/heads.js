// Step 3: all heads at a glance, one of them large, and what the mask does.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element } = Page;
  const local = { layer: 0, head: 0, mask: true, replacement: null };
  let slots, replacements, ask, role;

  function mount(root, state) {
    slots = Object.fromEntries(["gallery", "head", "mask"].map((name) => [name, Page.slot(root, name)]));
    role = Page.headRole(Page.slot(root, "head-role"), state, local);
    ask = Page.request(slots.mask, state, { task: "mask", label: "Compare the logits", turns: true, draw: (changes, question) => showMask(state, changes, question) });
    const box = Page.controls(slots.mask);
    Page.toggle(box, { label: "Causal mask on", checked: true, onChange: (on) => { local.mask = on; askMask(state); } });
    replacements = Page.choice(box, { label: "Last token becomes", options: [], onChange: (id) => { local.replacement = id; askMask(state); } });
  }

  function render(state, change) {
    const { n_layers, n_heads } = state.model.config;
    local.layer = Math.min(local.layer, n_layers - 1);
    local.head = Math.min(local.head, n_heads - 1);
    if (change !== "pin") showGallery(state);
    role.render(change);
    showHead(state);
    if (change === "prompt" || change === "model") offerReplacements(state);
    if (["prompt", "model", "frame"].includes(change)) askMask(state);
  }

  function showGallery(state) {
    const { n_layers, n_heads } = state.model.config;
    const grid = Page.keep(slots.gallery, "gallery", () => element("div", { class: "gallery", role: "group", "aria-label": "Heads" }));
    const key = `${n_layers},${n_heads}`, room = Page.widthOf(slots.gallery);
    const side = n_heads * Math.max(1, Math.floor(room / (n_heads * 84))); // whole blocks next to each other
    grid.style.gridTemplateColumns = `repeat(${Math.min(side, n_layers * n_heads)}, minmax(0, 5.5rem))`;
    if (grid.shape !== key) {
      grid.shape = key;
      grid.replaceChildren(...Array.from({ length: n_layers * n_heads }, (_, i) =>
        makeThumbnail(state, Math.floor(i / n_heads), i % n_heads)));
    }
    [...grid.children].forEach((button, i) => drawThumbnail(button, state, Math.floor(i / n_heads), i % n_heads));
  }

  function makeThumbnail(state, layer, head) {
    const name = `Block ${layer}, head ${head}`;
    return element("button", { type: "button", class: "thumbnail", "aria-label": name,
      onclick: () => { Object.assign(local, { layer, head }); showGallery(state); showHead(state); } },
    element("canvas", { "aria-hidden": "true" }), element("span", { text: `${layer}.${head}` }));
  }

  function drawThumbnail(button, { trace, ids }, layer, head) {
    const T = ids.length, canvas = button.firstChild;
    if (canvas.width !== T || canvas.height !== T) Object.assign(canvas, { width: T, height: T });
    Page.fillCanvas(canvas, { values: trace.get(`blocks.${layer}.attention.weights`), offset: head * T * T, max: 0.6, hue: "attention" });
    button.setAttribute("aria-pressed", String(layer === local.layer && head === local.head));
  }

  function showHead(state) {
    role.draw();
    const { layer, head } = local, T = state.ids.length, shown = state.shown();
    const all = state.trace.get(`blocks.${layer}.attention.weights`);
    const weights = all.slice(head * T * T, (head + 1) * T * T), first = (t) => Page.firstKey({ ...state, pinned: t }, local);
    for (let t = 0; t < T; t++) weights.fill(NaN, t * T, t * T + first(t)).fill(NaN, t * T + t + 1, (t + 1) * T); // masked cells
    Page.heatMap(slots.head, {
      label: `Attention weights of block ${layer}, head ${head}`, rows: T, columns: T, values: weights, max: 1,
      rowLabels: shown, columnLabels: shown, hue: "attention",
      describe: (t, s) => (s > t || s < first(t)
        ? `${shown[t]} (${t}) may not look at ${shown[s]} (${s}): it ${s > t ? "comes later" : "is outside the window"}. Weight exactly 0.`
        : `${shown[t]} (${t}) looks at ${shown[s]} (${s}): ${Page.percent(weights[t * T + s])}`),
      onSelect: (t) => state.pin(t), selected: null,
    });
    const row = Page.headRow(state, "weights", local, state.pinned), top = Page.largest(row, 1)[0], { window } = state.model.config.variant;
    Page.readout(slots.head, `Block ${layer}, head ${head}: the pinned ${shown[state.pinned]} (position ${state.pinned}) looks most at `
      + `${shown[top]} (position ${top}), with weight ${Page.percent(row[top])}; equal attention to all would give each ${Page.percent(1 / (row.length - first(state.pinned)))}.`
      + (window ? ` In this model a position may look at itself and the ${window - 1} before it: what is further back is masked, too.` : ""));
  }

  /** Other last tokens: the likeliest ones in that place, other than the one that is there. */
  function offerReplacements(state) {
    const { ids, tokenizer } = state, last = ids.at(-1);
    const before = state.trace.logits(Math.max(0, ids.length - 2));
    const others = Page.largest(before, 5).filter((id) => id !== last && !tokenizer.isSpecial(id)).slice(0, 4);
    replacements.fill(others.map((id) => ({ value: id, label: tokenizer.show(id) })));
    local.replacement = replacements.value; // the reader's, if it is still among them
  }

  function askMask(state) {
    const ids = state.ids.slice(-Page.affordable(state, 16));
    if (ids.length < 2) {
      ask.withdraw();
      Page.bars(slots.mask, { label: "Changes", items: [] });
      Page.readout(slots.mask, "There is only one token: nothing comes before it. Type some text.");
      return;
    }
    ask.offer({ ids, other: [...ids.slice(0, -1), local.replacement], lesson: { mask: local.mask } });
  }

  function showMask(state, changes, { ids }) {
    const { tokenizer } = state, cut = ids.length < state.ids.length ? ` (the last ${ids.length} tokens of your prompt)` : "";
    Page.bars(slots.mask, {
      label: "Largest change of any logit at each earlier position", hue: local.mask ? "neutral" : "warning",
      max: state.steady("mask", Math.max(1e-9, ...changes)),
      items: changes.map((value, t) => ({ label: `${state.ids.length - ids.length + t} ${tokenizer.show(ids[t])}`, value })),
    });
    const change = Math.max(...changes);
    Page.readout(slots.mask, `${tokenizer.show(ids.at(-1))} → ${tokenizer.show(local.replacement)}, mask ${local.mask ? "on" : "off"}${cut}: `
      + (change === 0 ? "the largest change of any earlier logit is exactly 0." : `the largest change of any earlier logit is ${Page.format(change)}: the future leaked.`));
  }

  Page.step("heads", { mount, render });
})();
