// Step 7, first part: gradients of the live model's output table, added up in micro-batches.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, svg, keep, readout, format } = Page;
  const LENGTH = 16; // targets in a sequence
  const SHORT = 2; // targets in a short one
  const SEQUENCES = 32;
  const LARGE = 2 ** 22; // values in the output head above which fewer sequences must do

  const figure = { state: null, batch: null, size: 2, count: 8, added: 8, unequal: false, byTokens: true };

  function mount(root, state) {
    figure.state = state;
    figure.box = Page.slot(root, "accumulation");
    figure.noiseBox = Page.slot(root, "noise");
    mountControls(Page.controls(figure.box));
    figure.ask = Page.request(figure.box, state, { task: "gradient", label: "Compute the gradients", turns: true, lasting: true, draw: useParts });
    figure.adamwBox = Page.slot(root, "adamw");
    figure.adamw = Page.adamwFigure(figure.adamwBox, state);
    explain("Computing gradients …");
    Page.whenSeen(root, load);
  }

  function mountControls(row) {
    const numbers = (values) => values.map((value) => ({ value, label: String(value) }));
    const change = (name) => (value) => { figure[name] = value; relength(); };
    Page.choice(row, { label: "Sequences in a micro-batch", options: numbers([1, 2, 4]), value: 2, onChange: change("size") });
    figure.counts = Page.choice(row, { label: "Micro-batches (accumulation steps)", options: numbers([1, 2, 4, 8, 16, 32]), value: 8,
      onChange: (value) => { figure.count = value; figure.added = value; relength(); } });
    figure.slider = Page.slider(row, { label: "Added so far", min: 1, max: 8, value: 8,
      onInput: (value) => { figure.added = value; if (figure.batch?.K) draw(); } });
    Page.toggle(row, { label: "Every second micro-batch is short", onChange: change("unequal") });
    Page.choice(row, { label: "Average", value: true, onChange: change("byTokens"),
      options: [{ value: true, label: "over tokens" }, { value: false, label: "of means" }] });
  }

  function render(state, change) {
    if (change === "frame") return; // gradients take a while: at rest
    if (change === "model" || change === "rest") {
      figure.batch = null;
      if (change === "model") explain("Computing gradients …");
      if (figure.seen) load();
    } else if (figure.batch?.K && change === "prompt") {
      if (usePrompt(figure.batch)) draw();
    } else if (figure.batch?.K && change !== "pin") draw();
  }

  /** Instead of the figures: there are no gradients of this model yet. */
  function explain(text) {
    for (const box of [figure.box, figure.noiseBox, figure.adamwBox]) {
      box.classList.add("empty");
      readout(box, text);
    }
  }

  /** Run the model on all sequences, a little at a time; a newer call makes this one stop. */
  function load() {
    figure.seen = true;
    const { model, tokenizer, engine } = figure.state, { vocab_size: V, d_model: D, max_seq_len } = model.config;
    const length = Math.min(LENGTH, max_seq_len - 1, figure.state.capacity - 1);
    if (length < 1) {
      figure.ask.withdraw();
      return void explain("This model's context of one token leaves no room for the next one, so there is no loss and no gradient.");
    }
    const sequences = pieces(tokenizer, length).slice(0, V * D > LARGE ? SEQUENCES / 2 : SEQUENCES);
    for (const box of [figure.noiseBox, figure.adamwBox]) {
      readout(box, engine.isLocal ? "Computing gradients …" : "This model is large. Press “Compute the gradients” in the figure “Accumulate real gradients” below.");
    }
    if (engine.isLocal) readout(figure.box, "Computing gradients …");
    figure.ask.offer({ sequences, rows: Page.gradientRows(model.config, sequences.flat()), length });
  }

  async function useParts(parts, { sequences, rows, length }) {
    const batch = { model: figure.state.model, rows, parts, sequences, length, own: parts[0] };
    figure.batch = batch;
    usePrompt(batch);
    await relength();
  }

  /** Pieces of held-out stories, `length` + 1 tokens each, from ever later places. */
  function pieces(tokenizer, length) {
    return Page.samples.stories.slice(0, SEQUENCES).map((story, i) => {
      const ids = [tokenizer.startOfText, ...tokenizer.encode(story)];
      const start = (i * 11) % Math.max(1, ids.length - length - 1);
      return ids.slice(start, start + length + 1);
    });
  }

  /** The reader's prompt is the first sequence, where it is long enough; whether that changed anything. */
  function usePrompt(batch) {
    const { ids, trace, model, engine } = figure.state, { length, rows } = batch;
    if (batch.model !== model) return false;
    const fits = engine.isLocal && ids.length > length && rows.length === model.config.vocab_size;
    const prompt = fits ? ids.slice(0, length + 1).join() : "";
    if (prompt === batch.prompt) return false;
    Object.assign(batch, { prompt, promptUsed: fits });
    if (!fits) batch.parts[0] = batch.own;
    else {
      const D = model.config.d_model, errors = new Float32Array(length * rows.length);
      for (let t = 0; t < length; t++) {
        errors.set(Page.headError(model, trace.logits(t), ids[t + 1], rows), t * rows.length);
      }
      const hidden = trace.get("final_norm").slice(0, length * D);
      batch.parts[0] = { hidden, errors, tokens: length, D };
    }
    if (batch.gradients) {
      batch.gradients[0] = Page.headGradient([batch.parts[0]], [batch.lengths[0]]);
      Page.gramRow(batch.K, batch.gradients, 0);
    }
    return true;
  }

  /** How many targets each sequence has, and each sequence's gradient. */
  async function relength() {
    const batch = figure.batch;
    if (!batch) return;
    figure.count = Math.min(figure.count, Math.floor(batch.parts.length / figure.size));
    figure.added = Math.min(figure.added, figure.count);
    figure.counts.set(figure.count);
    const turn = (figure.turn = (figure.turn ?? 0) + 1);
    const lengths = batch.parts.map((part, s) =>
      (figure.unequal && Math.floor(s / figure.size) % 2 ? Math.min(SHORT, part.tokens) : part.tokens));
    if (lengths.join() !== batch.lengths?.join()) {
      const gradients = [];
      for (const [s, part] of batch.parts.entries()) {
        if (s % 8 === 0) await Page.breathe();
        if (turn !== figure.turn || batch !== figure.batch) return;
        gradients.push(Page.headGradient([part], [lengths[s]]));
      }
      const K = new Float64Array(gradients.length ** 2);
      for (let i = 0; i < gradients.length; i++) {
        if (i % 8 === 0) await Page.breathe();
        Page.gramRow(K, gradients, i);
      }
      if (turn !== figure.turn || batch !== figure.batch) return; // other controls, another model
      Object.assign(batch, { lengths, gradients, K, prompt: null });
      usePrompt(batch); // which may have changed meanwhile
    }
    draw();
  }

  /** The step's micro-batches: members, predicted tokens, share of the step, weight of a sequence. */
  function microBatches({ parts, lengths }) {
    const micro = Array.from({ length: figure.count }, (_, i) => {
      const members = Array.from({ length: figure.size }, (_, j) => i * figure.size + j);
      return { members, tokens: members.reduce((n, s) => n + lengths[s], 0) };
    });
    const total = micro.reduce((n, { tokens }) => n + tokens, 0);
    for (const one of micro) {
      one.share = figure.byTokens ? one.tokens / total : 1 / micro.length;
      one.weights = new Float64Array(parts.length);
      for (const s of one.members) one.weights[s] = 1 / one.tokens; // of this micro-batch's mean
    }
    return { micro, total };
  }

  /** Σ share · mean over the first `count` micro-batches, as weights over sequences. */
  function partialSum(micro, count) {
    const sum = new Float64Array(micro[0].weights.length);
    for (const { share, weights } of micro.slice(0, count)) weights.forEach((w, s) => { sum[s] += share * w; });
    return sum;
  }

  function draw() {
    const batch = figure.batch, { K, lengths } = batch;
    const { micro, total } = microBatches(batch);
    for (const box of [figure.box, figure.noiseBox, figure.adamwBox]) box.classList.remove("empty");
    const whole = new Float64Array(lengths.length);
    for (const s of micro.flatMap((one) => one.members)) whole[s] = 1 / total;
    figure.slider.limit(figure.count);
    figure.slider.set(figure.added);
    const angles = micro.map((_, k) => Page.angle(K, partialSum(micro, k + 1), whole));
    drawTokens(micro, lengths, total);
    drawArrows(K, micro, whole, angles);
    describe(micro, total, angles);
    clearTimeout(figure.timer);
    const timer = (figure.timer = setTimeout(async () => {
      const found = await Page.inTurns(compare(batch, micro), { cancelled: () => timer !== figure.timer || batch !== figure.batch });
      if (found) showComparison(found);
    }, 120));
    drawNoise(batch);
    figure.adamw.draw(batch);
  }

  /** One square for each predicted token, darker the more it counts in the average. */
  function drawTokens(micro, lengths, total) {
    const row = keep(figure.box, "tokens", () => element("div", { class: "micro-batches", role: "list" }));
    row.replaceChildren(...micro.map(({ members, tokens, share }, i) => {
      const depth = Math.min(1, ((share / tokens) * total) / 3);
      const picture = svg("svg", { width: LENGTH * 4, height: members.length * 6, "aria-hidden": "true" });
      members.forEach((s, r) => {
        for (let t = 0; t < lengths[s]; t++) {
          picture.append(svg("rect", { x: t * 4, y: r * 6, width: 3, height: 5, fill: "var(--neutral-fill)",
            "fill-opacity": (0.25 + 0.75 * depth).toFixed(2) }));
        }
      });
      const text = `micro-batch ${i + 1}: ${tokens} tokens, ${(100 * share).toFixed(1)} % of the step`;
      return element("div", { role: "listitem", "aria-label": text, title: text, class: i < figure.added ? "added" : "" }, picture);
    }));
  }

  /** The whole batch's gradient to the right; the others at their true angle and length. */
  function drawArrows(K, micro, whole, angles) {
    const [width, height] = [Math.min(Page.widthOf(figure.box), 640), 300];
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Arrows: ${figure.count} gradients of micro-batches, their partial mean, the gradient of the whole batch` });
    const length = (weights) => Math.sqrt(Page.inner(K, weights, weights));
    const singles = micro.map(({ weights }) => [length(weights), Page.angle(K, weights, whole)]);
    const partial = partialSum(micro, figure.added);
    const shares = micro.slice(0, figure.added).reduce((sum, { share }) => sum + share, 0);
    const longest = Math.max(length(whole), ...singles.map(([size]) => size));
    const scale = Math.min((width - 60) / longest, (height / 2 - 12) / Math.max(1e-9,
      ...singles.map(([size, degrees]) => size * Math.sin((degrees * Math.PI) / 180))));
    const arrow = (size, degrees, kind) => picture.append(...arrowShapes(30, height / 2, size * scale, degrees, kind));
    singles.forEach(([size, degrees], i) => arrow(size, degrees * (i % 2 ? 1 : -1), i < figure.added ? "one" : "waiting"));
    arrow(length(whole), 0, "whole");
    const bent = !figure.byTokens && figure.unequal;
    arrow(length(partial) / shares, -angles[figure.added - 1], bent ? "wrong" : "partial");
    keep(figure.box, "arrows", () => element("div", { class: "arrows" })).replaceChildren(picture, key());
  }

  function arrowShapes(x, y, size, degrees, kind) {
    const turn = (degrees * Math.PI) / 180, [ex, ey] = [x + size * Math.cos(turn), y + size * Math.sin(turn)];
    const head = [2.7, -2.7].map((bend) =>
      `${(ex + 8 * Math.cos(turn + bend)).toFixed(1)},${(ey + 8 * Math.sin(turn + bend)).toFixed(1)}`);
    return [svg("line", { class: `arrow ${kind}`, x1: x, y1: y, x2: ex.toFixed(1), y2: ey.toFixed(1) }),
      svg("polyline", { class: `arrow ${kind}`, points: `${head[0]} ${ex.toFixed(1)},${ey.toFixed(1)} ${head[1]}` })];
  }

  function key() {
    const item = (kind, text) => element("li", {}, svg("svg", { width: 30, height: 10, "aria-hidden": "true" },
      svg("line", { class: `arrow ${kind}`, x1: 1, x2: 28, y1: 5, y2: 5 })), element("span", { text }));
    return element("ul", { class: "legend", role: "list" }, item("one", "one micro-batch (above or below in turn)"),
      item(!figure.byTokens && figure.unequal ? "wrong" : "partial", "mean of those added"), item("whole", "the whole batch at once"));
  }

  function describe(micro, total, angles) {
    const batch = figure.batch, D = batch.model.config.d_model;
    const alone = micro.map(({ weights }) => Page.angle(batch.K, weights, partialSum(micro, micro.length)));
    const mean = alone.reduce((a, b) => a + b, 0) / alone.length;
    const rows = batch.rows.length === batch.model.config.vocab_size ? "" : ` (rows of ${batch.rows.length} tokens)`;
    const prompt = batch.promptUsed ? "Sequence 1 is the beginning of your prompt. " : "";
    figure.sentence = `${prompt}Each gradient has ${(batch.rows.length * D).toLocaleString("en-US")} numbers${rows}. `
      + `A single micro-batch points ${mean.toFixed(1)}° away from their mean; after ${figure.added} of ${micro.length} `
      + `the angle to the whole batch (${total} tokens) is ${angles[figure.added - 1].toFixed(2)}°. `;
    readout(figure.box, figure.sentence);
  }

  /** The claim itself, entry by entry: accumulated against one big batch. */
  function* compare(batch, micro) {
    const members = micro.flatMap((one) => one.members), total = micro.reduce((n, one) => n + one.tokens, 0);
    const big = yield* Page.headGradientSteps(members.map((s) => batch.parts[s]), members.map((s) => batch.lengths[s]));
    const sum = yield* Page.accumulate(batch.parts, micro.map((one) => one.members), batch.lengths, micro.map((one) => one.share));
    let difference = 0, size = 0;
    for (let i = 0; i < big.length; i++) {
      difference = Math.max(difference, Math.abs(sum[i] - big[i] / total));
      size = Math.max(size, Math.abs(big[i] / total));
    }
    return { difference, size };
  }

  function showComparison({ difference, size }) {
    figure.box.dataset.difference = difference;
    readout(figure.box, `${figure.sentence}Largest difference between the accumulated gradient and that of one big batch, `
      + `over all entries: ${format(difference)}; largest entry: ${format(size)}.`);
  }

  /** Error of a mean of N micro-batches drawn at random, against N, both scales logarithmic. */
  function drawNoise({ K, parts }) {
    const groups = [];
    for (let s = 0; s + figure.size <= parts.length; s += figure.size) {
      const tokens = figure.batch.lengths.slice(s, s + figure.size).reduce((a, b) => a + b, 0);
      groups.push(Float64Array.from(parts, (_, i) => (i >= s && i < s + figure.size ? 1 / tokens : 0)));
    }
    const rng = Page.random(1), counts = [1, 2, 4, 8, 16, 32, 64];
    const measured = counts.map((N) => [N, Page.measuredNoise(K, groups, N, 60, rng)]);
    const start = measured[0][1];
    Page.linePlot(figure.noiseBox, { label: "Error of the averaged gradient against the number of micro-batches",
      x: "micro-batches averaged, N", y: "error / length of gradient", logX: true, logY: true, height: 250,
      series: [{ name: "measured here, 60 draws each", points: measured, hue: "ink" },
        { name: "1/√N", points: counts.map((N) => [N, start / Math.sqrt(N)]), hue: "neutral", dashed: true },
        { name: "1/N, for comparison", points: counts.map((N) => [N, start / N]), hue: "warning", dashed: true }] });
    const at = (N) => measured[counts.indexOf(N)][1];
    readout(figure.noiseBox, `One micro-batch: error ${format(at(1))} times the gradient's own length. `
      + `Mean of 16: ${format(at(16))}, ${(at(1) / at(16)).toFixed(1)} times less (√16 = 4). Mean of 64: ${format(at(64))}, `
      + `${(at(1) / at(64)).toFixed(1)} times less (√64 = 8).`);
  }

  Page.step("training", { mount, render });
})();
