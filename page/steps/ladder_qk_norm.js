// Step 11, third part: the scores of a head before and after its queries and keys get a fixed size.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, format, percent } = Page;
  const BINS = 40, SHOWN = 6;
  const local = { layer: 0, head: 0, longer: 1, vectors: null, seen: false };
  let box, weightBox, picker, ask;

  function mount(root, state) {
    [box, weightBox] = [Page.slot(root, "qk-scores"), Page.slot(root, "qk-weights")];
    const row = Page.controls(box);
    picker = Page.headPicker(row, local, () => offer());
    Page.slider(row, { label: "Queries and keys longer by", min: 1, max: 4, step: 0.25, value: 1, format: (value) => `× ${value}`,
      onInput: (value) => { local.longer = value; draw(state); } });
    ask = Page.request(box, state, { task: "headVectors", draw: (found) => { local.vectors = found; draw(state); } });
    for (const each of [box, weightBox]) readout(each, "Measuring …");
    Page.whenSeen(root, () => { local.seen = true; offer(); });
  }

  function offer() {
    if (local.seen) ask.offer({ layer: local.layer, head: local.head });
  }

  function render(state, change) {
    picker.follow(state.model.config);
    if (change === "pin" || change === "resize") return void draw(state);
    if (change === "theme") return;
    local.vectors = null; // they were those of another text
    offer();
  }

  /** Scores without and with the norm, a row for each query, and the largest that there can be with it. */
  function measure({ model }) {
    const { head_size: K, variant } = model.config, { raw, normed, gain } = local.vectors;
    const { firstKey } = model.blocks[local.layer].attention, longer = (x) => x.map((value) => value * local.longer);
    const before = { queries: longer(raw.queries), keys: longer(raw.keys) };
    const after = normed ?? { queries: fixed(before.queries, K, variant), keys: fixed(before.keys, K, variant) };
    const [first, then] = [before, after].map((pair) =>
      Page.scoreRows(variant.positions === "rotary" ? Page.turned(pair, K, variant.rotary_base) : pair, K, firstKey));
    return { before: first, after: then, bound: gain * Math.sqrt(K), from: firstKey };
  }

  const fixed = (x, K, { norm_eps, qk_scale }) => Page.rmsNormed(x, x.length / K, norm_eps, qk_scale);

  function draw(state) {
    if (!local.vectors) return;
    const found = measure(state), [before, after] = [found.before, found.after].map(largestSize);
    const reach = 1.05 * Math.max(found.bound, before, after);
    histogram("before", "without QK-norm", found.before, reach, []);
    histogram("after", "with QK-norm", found.after, reach, [-found.bound, found.bound]);
    const { qk_norm, qk_scale } = state.model.config.variant, K = state.model.config.head_size;
    const own = qk_norm === "none" ? `This model has no QK-norm: the lower picture is what it would be with the constant ${qk_scale}.`
      : `This model has QK-norm${qk_norm === "gain" ? ", with a learned gain for each channel" : ""}: the lower picture is its own, the upper one leaves its norm out.`;
    readout(box, `Block ${local.layer}, head ${local.head}: the largest score of the prompt is ${format(before)} in size without the norm and ${format(after)} with it; `
      + `with it, none can be larger than ${format(found.bound)} (√${K} × ${format(found.bound / Math.sqrt(K))}), however long queries and keys become. ${own}`);
    drawWeights(state, found);
  }

  const largestSize = (rows) => rows.reduce((most, row) => row.reduce((size, score) => Math.max(size, Math.abs(score)), most), 0);

  /** How many scores of the prompt are in each of the bins from −reach to reach. */
  function histogram(name, title, rows, reach, bounds) {
    const counts = new Uint32Array(BINS), scores = rows.flatMap((row) => [...row]), width = (2 * reach) / BINS;
    for (const score of scores) counts[Math.min(BINS - 1, Math.floor((score + reach) / width))]++;
    const columns = Array.from(counts, (y, i) => ({ from: i * width - reach, to: (i + 1) * width - reach, y, hue: "attention" }));
    const holder = keep(box, name, () => element("div"));
    Page.subtitle(holder, title[0].toUpperCase() + title.slice(1));
    Page.linePlot(holder, { label: `Scores ${title}: how many of the ${scores.length} of the prompt have which size`, x: "score", y: "how many",
      height: 150, yMin: 0, series: [], columns, rules: bounds.map((x) => ({ x, text: x > 0 ? `bound ± ${format(x)}` : "" })) });
  }

  /** What the softmax makes of the pinned token's scores. */
  function drawWeights(state, { before, after, bound, from }) {
    const { pinned } = state, first = from(pinned), shown = state.shown();
    const [without, withNorm] = [before, after].map((rows) => Page.softmax(rows[pinned]));
    const order = Page.largest(without.map((weight, s) => Math.max(weight, withNorm[s])), SHOWN).sort((a, b) => a - b);
    Page.bars(weightBox, { label: "Attention weights of the pinned token, without QK-norm and with it", max: 1,
      items: order.flatMap((s) => [{ label: `${first + s} ${shown[first + s]}`, value: without[s], text: percent(without[s]), hue: "neutral" },
        { label: "… normed", value: withNorm[s], text: percent(withNorm[s]), hue: "attention" }]) });
    const n = without.length, most = Math.exp(bound) / (Math.exp(bound) + n - 1);
    readout(weightBox, n === 1 ? "The first token can only look at itself, whatever the scores: its weight is 100 %."
      : `The pinned ${shown[pinned]} sees ${n} tokens. The softmax of its scores gives at most ${percent(Math.max(...without))} to one of them without the norm, ${percent(Math.max(...withNorm))} with it. `
        + `A score at the bound, where all others are 0, would get ${percent(most)}.`);
  }

  Page.step("ladder", { mount, render });
})();
