// Step 8, second part: the same text with and without a cache: logits, multiply-adds, time.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, format } = Page;
  const COUNT = 24;
  const figure = { shown: "work", bug: false, running: 0, rows: [] };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "cache") });
    const row = Page.controls(figure.box);
    Page.button(row, { label: `Write ${COUNT} tokens both ways`, onClick: () => run() });
    Page.button(row, { label: "Stop", onClick: () => { figure.running++; } });
    Page.choice(row, { label: "Show", value: "work", onChange: (value) => { figure.shown = value; draw(); },
      options: [{ value: "work", label: "multiply-adds" }, { value: "time", label: "milliseconds" }] });
    Page.toggle(row, { label: "Position bug: every new token is at position 0", onChange: (value) => { figure.bug = value; clear(); draw(); } });
  }

  function render(state, change) {
    if (["prompt", "model", "frame", "rest"].includes(change)) clear();
    if (["prompt", "model", "frame", "rest", "resize"].includes(change)) draw();
  }

  function clear() {
    figure.running++;
    figure.rows = [];
  }

  /** Greedy, so that both ways must agree; the text follows what the cached way says. */
  async function run() {
    clear();
    const turn = figure.running, { model, tokenizer, engine } = figure.state, { config } = model;
    const isOver = () => turn !== figure.running || engine !== figure.state.engine; // a film moves on before this is drawn
    const room = config.max_seq_len - COUNT;
    let ids = figure.state.ids.slice(-Math.max(1, room));
    for (let n = 0; n < COUNT && ids.length <= config.max_seq_len; n++) {
      await Page.breathe();
      if (isOver()) return;
      const row = await compareOnce(ids, n === 0);
      if (isOver()) return;
      if (row.id === tokenizer.endOfText) return void (n === 0 && readout(figure.box, "The model ends the text here: there is nothing to write."));
      figure.rows.push({ ...row, length: ids.length });
      ids = [...ids, row.id];
      draw();
    }
  }

  /** The next token from the whole text, and from its last token and the cache. */
  function compareOnce(ids, begin) {
    return new Promise((done) => { figure.state.engine.ask("cost", { ids, bug: figure.bug, begin }, { done }); });
  }

  function draw() {
    const { rows, shown, state } = figure, started = rows.length > 0;
    const series = (which) => rows.map((row, n) => [n + 1, shown === "work" ? row.work[which] / 1e6 : row.time[which]]);
    const plot = keep(figure.box, "costs", () => element("div"));
    plot.hidden = !started;
    if (started) Page.linePlot(plot, { label: "Cost of each new token, with and without cache", x: "token written", height: 230, yMin: 0,
      y: shown === "work" ? "million multiply-adds" : "milliseconds",
      series: [{ name: "without cache: the whole text again", points: series(0), hue: "warning" },
        { name: "with cache: the last token only", points: series(1), hue: "ink" }] });
    const text = keep(figure.box, "text", () => element("div"));
    Page.chips(text, { label: "Tokens written with the cache", tokens: rows.map(({ id }) => state.tokenizer.show(id)),
      notes: rows.map(({ id, right }) => (id === right ? "" : `right: ${state.tokenizer.show(right)}`)) });
    readout(figure.box, started ? summary(rows) : "Press the button: each token is computed twice, with and without the cache, greedily.");
  }

  function summary(rows) {
    const { config } = figure.state.model, later = rows.slice(1);
    const sum = (kind, which) => later.reduce((total, row) => total + row[kind][which], 0);
    const difference = Math.max(...rows.map((row) => row.difference)), wrong = rows.filter(({ id, right }) => id !== right).length;
    figure.box.dataset.difference = difference;
    const { length } = rows.at(-1);
    const cost = later.length === 0 ? "" : `After the first token the cache saves ${(100 * (1 - sum("work", 1) / sum("work", 0))).toFixed(0)} % of the multiply-adds: `
      + `${format(sum("work", 1) / 1e6)} instead of ${format(sum("work", 0) / 1e6)} million, ${format(sum("time", 1))} instead of ${format(sum("time", 0))} ms here. `;
    return `Largest difference between the two ways over all logits: ${format(difference)}; ${wrong} of ${rows.length} tokens differ. ${cost}`
      + `The cache of ${length} positions holds ${Page.cacheValues(config, length).toLocaleString("en-US")} numbers.`;
  }

  Page.step("generation", { mount, render });
})();
