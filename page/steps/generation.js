// Step 8, first part: the filters between the logits and the next token, and a text that grows.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, svg, keep, readout, percent, shorten } = Page;
  const SETTINGS = { // PRESETS in src/transformer/sampling.py
    greedy: { temperature: 0 },
    precise: { temperature: 0.5, topK: 40 },
    balanced: { temperature: 0.8, topP: 0.95 },
    creative: { temperature: 1.1, minP: 0.05 },
    "as it is": { temperature: 1 },
  };
  const SHOWN = 12, LOWEST = 1e-9;
  const figure = { settings: { ...SETTINGS.balanced }, written: [], seed: 0, running: 0 };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "distribution"), textBox: Page.slot(root, "text") });
    mountFilters(Page.controls(figure.box));
    mountWriter(Page.controls(figure.textBox));
  }

  function mountFilters(row) {
    figure.preset = Page.choice(row, { label: "Preset", value: "balanced",
      options: Object.keys(SETTINGS).map((name) => ({ value: name, label: name })), onChange: usePreset });
    const filter = (label, options) => Page.slider(row, { label, ...options, onInput: () => readFilters() });
    figure.temperature = filter("temperature", { min: 0, max: 2, step: 0.05, value: 1, format: (v) => (v === 0 ? "0, greedy" : v.toFixed(2)) });
    figure.topK = filter("top-k", { min: 0, max: 100, value: 0, format: (v) => (v === 0 ? "off" : String(v)) });
    figure.topP = filter("top-p", { min: 0.05, max: 1, step: 0.01, value: 1, format: (v) => (v === 1 ? "off" : v.toFixed(2)) });
    figure.minP = filter("min-p", { min: 0, max: 0.5, step: 0.01, value: 0, format: (v) => (v === 0 ? "off" : v.toFixed(2)) });
    figure.penalty = filter("repetition penalty", { min: 1, max: 2, step: 0.05, value: 1, format: (v) => (v === 1 ? "off" : v.toFixed(2)) });
    usePreset("balanced", false);
  }

  function usePreset(name, redraw = true) {
    const { temperature, topK = 0, topP = 1, minP = 0 } = SETTINGS[name];
    figure.temperature.set(temperature);
    figure.topK.set(topK);
    figure.topP.set(topP);
    figure.minP.set(minP);
    figure.penalty.set(1);
    readFilters(redraw);
    figure.preset.set(name);
  }

  function readFilters(redraw = true) {
    const { temperature, topK, topP, minP, penalty } = figure;
    figure.settings = { temperature: temperature.value, topK: topK.value || null, topP: topP.value < 1 ? topP.value : null,
      minP: minP.value || null, repetitionPenalty: penalty.value };
    figure.preset.set(null);
    if (!redraw) return;
    startOver();
    drawDistribution();
    drawText();
  }

  function mountWriter(row) {
    Page.button(row, { label: "Write one token", onClick: () => write(1) });
    Page.button(row, { label: "Write 40", onClick: () => write(40) });
    Page.button(row, { label: "Stop", onClick: stop });
    Page.button(row, { label: "Start over", onClick: () => { startOver(); drawText(); } });
    Page.slider(row, { label: "seed", min: 0, max: 99, value: 0, onInput: (value) => { figure.seed = value; startOver(); drawText(); } });
  }

  function render(state, change) {
    if (change === "theme") return;
    if (change === "rest") return;
    if (["prompt", "model", "frame"].includes(change)) startOver();
    drawDistribution();
    drawText();
  }

  function stop() {
    figure.running++;
  }

  function startOver() {
    stop();
    figure.written = [];
    figure.begun = false;
    readout(figure.textBox, "");
  }

  /** Before the filters and after them, for the token after the pinned one. */
  function drawDistribution() {
    const { state, settings } = figure, logits = state.trace.logits(state.pinned);
    const history = state.ids.slice(0, state.pinned + 1);
    const before = Page.softmax(logits), after = Page.nextTokenDistribution(logits, { ...settings, history });
    const order = Uint32Array.from(before, (_, i) => i).sort((a, b) => before[b] - before[a] || a - b);
    const left = after.reduce((n, p) => n + (p > 0), 0);
    drawVocabulary(order, before, after);
    const top = [...order.subarray(0, SHOWN)];
    Page.bars(keep(figure.box, "top", () => element("div")), { label: "The most likely tokens and their probability after the filters",
      max: 1, items: top.map((id) => ({ label: state.tokenizer.show(id), value: after[id], faded: after[id] === 0,
        text: after[id] === 0 ? "removed" : percent(after[id]) })) });
    const kept = [...order].reduce((mass, id) => mass + (after[id] > 0 ? before[id] : 0), 0);
    readout(figure.box, `After "${state.tokenizer.show(state.ids[state.pinned])}", ${left.toLocaleString("en-US")} of `
      + `${before.length.toLocaleString("en-US")} tokens can be drawn; the model gave them ${percent(kept)} of its probability. `
      + `Uncertainty: ${Page.entropy(before).toFixed(2)} bits before the filters, ${Page.entropy(after).toFixed(2)} after.`);
  }

  /** Every token of the vocabulary as a bar, the most likely first; both scales logarithmic. */
  function drawVocabulary(order, before, after) {
    const width = Math.max(280, Math.min(Page.widthOf(figure.box), 720)), height = 230;
    const [left, right, top, bottom] = [48, width - 6, 10, height - 36], V = order.length;
    const x = (rank) => left + (Math.log(rank + 1) / Math.log(V + 1)) * (right - left);
    const y = (p) => bottom - (Math.log(Math.max(p, LOWEST) / LOWEST) / Math.log(1 / LOWEST)) * (bottom - top);
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `All ${V} tokens by rank: probability before and after the filters` });
    for (let power = -8; power <= 0; power += 2) {
      picture.append(svg("line", { class: "grid", x1: left, x2: right, y1: y(10 ** power), y2: y(10 ** power) }),
        svg("text", { class: "tick end", x: left - 6, y: y(10 ** power) + 4, text: power ? `10${"⁻⁰¹²³⁴⁵⁶⁷⁸⁹"[0]}${"⁰¹²³⁴⁵⁶⁷⁸⁹"[-power]}` : "1" }));
    }
    const outline = (values) => {
      let path = `M${x(0).toFixed(1)} ${bottom}`, drawn = x(0), highest = 0;
      order.forEach((id, rank) => { // ranks that share half a pixel share a step
        highest = Math.max(highest, values[id]);
        if (x(rank + 1) - drawn < 0.5 && rank + 1 < V) return;
        path += `V${y(highest).toFixed(1)}H${x(rank + 1).toFixed(1)}`;
        [drawn, highest] = [x(rank + 1), 0];
      });
      return `${path}V${bottom}Z`;
    };
    picture.append(svg("path", { class: "vocabulary before", d: outline(before) }), svg("path", { class: "vocabulary after", d: outline(after) }));
    for (let rank = 1; rank <= V; rank *= 10) {
      picture.append(svg("text", { class: x(rank - 1) > right - 24 ? "tick end" : "tick middle", x: x(rank - 1), y: bottom + 16, text: rank.toLocaleString("en-US") }));
    }
    picture.append(svg("text", { class: "axis-name middle", x: (left + right) / 2, y: height - 4, text: "rank of the token, most likely first" }));
    keep(figure.box, "vocabulary", () => element("div", { class: "plot" })).replaceChildren(picture, legend());
  }

  function legend() {
    const item = (kind, text) => element("li", {}, svg("svg", { width: 16, height: 12, "aria-hidden": "true" },
      svg("rect", { class: `vocabulary ${kind}`, x: 0.5, y: 0.5, width: 15, height: 11 })), element("span", { text }));
    return element("ul", { class: "legend", role: "list" }, item("before", "the model's probability"), item("after", "after the filters"));
  }

  /** Tokens one after the other, with a pause after each, so that Stop is heard. */
  async function write(count) {
    stop();
    const turn = figure.running, { state } = figure, { engine } = state;
    const isOver = () => turn !== figure.running || engine !== state.engine; // a film moves on before this is drawn
    for (let n = 0; n < count; n++) {
      await Page.breathe();
      if (isOver()) return;
      const token = await new Promise((done) => { askForToken(done); });
      if (isOver()) return;
      figure.written.push(token);
      drawText();
      if (token.id === state.tokenizer.endOfText) return;
    }
  }

  function askForToken(done) {
    const { state, seed, settings, begun } = figure;
    figure.begun = true;
    state.engine.ask("write", { ids: [...state.ids], seed, settings, begin: !begun }, { done });
  }

  function drawText() {
    const { state, written } = figure;
    const line = keep(figure.textBox, "line", () => element("p", { class: "written" }));
    const text = state.tokenizer.decode(written.map(({ id }) => id).filter((id) => id !== state.tokenizer.endOfText));
    line.replaceChildren(element("span", { class: "given", text: state.prompt }), element("span", { text }));
    Page.chips(keep(figure.textBox, "tokens", () => element("div")), { label: "Tokens written, with the probability each had",
      tokens: written.map(({ id }) => shorten(state.tokenizer.show(id), 14)), notes: written.map(({ probability }) => percent(probability)),
      shade: written.map(({ probability }) => probability), hue: "probability" });
    const ended = written.at(-1)?.id === state.tokenizer.endOfText ? " The model ended the text itself." : "";
    const bits = written.reduce((sum, { probability }) => sum - Math.log2(probability), 0);
    readout(figure.textBox, written.length === 0 ? "Nothing written yet: press a button."
      : `${written.length} tokens with seed ${figure.seed}; mean surprise ${(bits / written.length).toFixed(2)} bits per token.${ended}`);
  }

  Page.step("generation", { mount, render });
})();
