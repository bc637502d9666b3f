// Step 7, second part: what real runs of commands/train.py logged, to be scrubbed through.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, format } = Page;
  const CASES = [
    { value: "learning", label: "learning" },
    { value: "underfitting", label: "underfitting" },
    { value: "overfitting", label: "overfitting" },
  ];
  const figure = { run: "learning", at: 0, over: "tokens" };

  function mount(root) {
    figure.box = Page.slot(root, "curves");
    figure.pairBox = Page.slot(root, "accumulation-runs");
    const row = Page.controls(figure.box);
    Page.choice(row, { label: "A run that is", options: CASES.filter(({ value }) => Page.curves?.[value]), value: figure.run,
      onChange: (value) => { figure.run = value; toEnd(); draw(); } });
    figure.slider = Page.slider(row, { label: "Evaluation", min: 0, max: 1, value: 0,
      format: (i) => `step ${(current()?.validation[i]?.[0] ?? 0).toLocaleString("en-US")}`,
      onInput: (value) => { figure.at = value; draw(); } });
    Page.choice(Page.controls(figure.pairBox), { label: "Compare at equal", value: figure.over,
      options: [{ value: "tokens", label: "tokens" }, { value: "steps", label: "steps" }],
      onChange: (value) => { figure.over = value; drawPair(); } });
    toEnd();
  }

  const current = () => Page.curves?.[figure.run];

  function toEnd() {
    figure.at = Math.max(0, (current()?.validation.length ?? 1) - 1);
    figure.slider.limit(figure.at);
    figure.slider.set(figure.at);
  }

  function render(state, change) {
    if (!["model", "resize"].includes(change)) return; // nothing here depends on the prompt
    draw();
    drawPair();
  }

  function draw() {
    const run = current();
    if (!run) return void readout(figure.box, "page/curves.data.js is missing: export it with commands/export_page.py.");
    const [step, train, validation, , induction] = run.validation[figure.at], seen = run.validation.slice(0, figure.at + 1);
    const status = Page.trainingStatus(seen.map((row) => row[1]), seen.map((row) => row[2]), run.floor);
    const best = Math.min(...run.validation.map((row) => row[2]));
    const last = run.train.at(-1)[0];
    const floor = run.floor === null ? [] : [{ name: `floor ${format(run.floor)}: the best possible`, hue: "neutral",
      dashed: true, points: [[0, run.floor], [last, run.floor]] }];
    Page.linePlot(keep(figure.box, "losses", () => element("div")), {
      label: `Training and validation loss of the run "${figure.run}" over its steps`, x: "optimiser step", y: "loss (nats per token)",
      marker: step, series: [
        { name: "training", hue: "neutral", points: visible(run.train.map(([at, , loss]) => [at, loss]), best) },
        { name: "validation", hue: "probability", points: visible(run.validation.map(([at, , loss]) => [at, loss]), best) }, ...floor] });
    drawInduction(run, step, last);
    const head = induction === null ? "" : ` Best induction score: ${induction.toFixed(2)}.`;
    readout(figure.box, `Step ${step.toLocaleString("en-US")}: training loss ${train.toFixed(3)}, validation loss `
      + `${validation.toFixed(3)}, perplexity ${Math.exp(validation).toFixed(2)} (lowest validation loss of the run: `
      + `${best.toFixed(3)}). Status: ${status}: ${Page.trainingExplanations[status]}.${head} Made with: ${run.command}`);
  }

  /** The steepest beginning is left out, so that what differs later can be seen. */
  function visible(points, lowest) {
    return points.filter(([, loss]) => loss <= 2 * lowest);
  }

  /** When a head begins to copy, over the same steps as the loss. */
  function drawInduction(run, step, last) {
    const holder = keep(figure.box, "induction", () => element("div"));
    const points = run.validation.filter((row) => row[4] !== null).map((row) => [row[0], row[4]]);
    holder.hidden = points.length === 0;
    if (holder.hidden) return;
    Page.linePlot(holder, { label: "Induction score of the best head over the same steps", x: "optimiser step",
      y: "best induction score", height: 180, yMin: 0, yMax: 1, marker: step,
      series: [{ name: "best head's induction score", hue: "attention", points: [...points, [last, points.at(-1)[1]]] }] });
  }

  function drawPair() {
    const pair = [1, 16].map((n) => [n, Page.curves?.[`accumulation-${n}`]]);
    if (pair.some(([, run]) => !run)) return void readout(figure.pairBox, "page/curves.data.js lacks these two runs.");
    const column = figure.over === "tokens" ? 1 : 0;
    const end = Math.min(...pair.map(([, run]) => run.train.at(-1)[column]));
    const series = pair.map(([n, run]) => ({ name: `accumulation ${n}`, hue: n === 1 ? "warning" : "ink",
      points: run.train.filter((row) => row[column] <= end).map((row) => [row[column], row[2]]) }));
    Page.linePlot(figure.pairBox, { label: `Training loss with accumulation 1 and 16 over ${figure.over}`, series,
      x: figure.over === "tokens" ? "tokens learned from" : "optimiser step", y: "training loss of a step" });
    const facts = pair.map(([n, run]) => {
      const rows = run.train.filter((row) => row[column] <= end);
      return `accumulation ${n}: ${rows.at(-1)[0].toLocaleString("en-US")} steps, `
        + `${(rows.at(-1)[1] / 1e6).toFixed(2)} million tokens, ${validationNear(run, rows.at(-1)[0])}, `
        + `the loss changes by ${format(roughness(rows))} on average from one point to the next`;
    });
    readout(figure.pairBox, `At equal ${figure.over}: ${facts.join("; ")}.`);
  }

  /** The nearest evaluation; one that is further away than a twentieth of the steps says nothing. */
  function validationNear(run, step) {
    const [at, , loss] = run.validation.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
    if (Math.abs(at - step) > step / 20) return "validation loss not measured there";
    return `validation loss ${loss.toFixed(3)} at step ${at.toLocaleString("en-US")}`;
  }

  /** Mean absolute change between neighbouring points in the last half: how ragged a curve is. */
  function roughness(rows) {
    const half = rows.slice(Math.floor(rows.length / 2)).map((row) => row[2]);
    return half.slice(1).reduce((sum, loss, i) => sum + Math.abs(loss - half[i]), 0) / Math.max(1, half.length - 1);
  }

  Page.step("training", { mount, render });
})();
