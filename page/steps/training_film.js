// Step 7, last part: when did it learn what? Every frame of a film, on stories whose parts are known.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { keep, readout, element } = Page;
  const STORIES = 8;
  const HUES = ["residual", "feed-forward", "position", "attention", "neutral"];
  const figure = { job: null, seen: false, film: null, found: new Map() };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "learned") });
    figure.ask = Page.controls(figure.box);
    Page.button(figure.ask, { label: "Play the film of a small training", onClick: () => Page.playShippedFilm() });
    figure.losses = keep(figure.box, "losses", () => element("div"));
    figure.heads = keep(figure.box, "heads", () => element("div"));
    Page.whenSeen(root, () => { figure.seen = true; start(); });
  }

  function render(state, change) {
    if (change === "model" && figure.film !== state.film) {
      figure.job?.cancel();
      Object.assign(figure, { film: state.film, found: new Map(), stories: null });
      if (figure.seen) start();
    }
    if (change === "model" || change === "frame" || change === "resize" || change === "theme") draw();
  }

  /** Frames in an order that shows the whole soon: the last, every eighth, every fourth, … */
  function order({ last }) {
    const places = [last, ...[8, 4, 2, 1].flatMap((stride) =>
      Array.from({ length: Math.floor(last / stride) + 1 }, (_, i) => i * stride))];
    return [...new Set(places)];
  }

  async function start() {
    const { film } = figure;
    draw();
    if (!film) return;
    figure.stories = Page.samples.songs.slice(0, STORIES)
      .map((story) => Page.storyOfKinds(story, film.tokenizer, film.config.max_seq_len)).filter(Boolean);
    if (figure.stories.length === 0) return;
    let on = true;
    figure.job = { cancel: () => { on = false; } };
    for (const frame of order(film)) {
      const found = await Page.inTurns(Page.learned(film.model(frame), figure.stories), { cancelled: () => !on });
      if (!on) return;
      figure.found.set(frame, found);
      draw();
    }
  }

  function draw() {
    const { film, found, state } = figure, frames = [...found.keys()].sort((a, b) => a - b);
    figure.ask.hidden = Boolean(film);
    for (const box of [figure.losses, figure.heads]) box.hidden = frames.length === 0;
    if (!film) return void readout(figure.box, "This model comes without a film. Train with --film 60 and drop film.safetensors on Step 10, or press the button.");
    if (figure.stories?.length === 0) return void readout(figure.box, `This model's context of ${film.config.max_seq_len} tokens is too short for a story.`);
    if (frames.length === 0) return void readout(figure.box, "Measuring …");
    drawLosses(frames);
    drawHeads(frames);
    return tell(frames.at(-1), state.frame);
  }

  const at = (frame) => figure.film.steps[frame] + 1; // the axis is logarithmic, and begins with step 0

  function drawLosses(frames) {
    const { found, state } = figure;
    Page.linePlot(figure.losses, { label: "Loss of each kind of token over the training", x: "optimiser step + 1", y: "loss (nats per token)",
      logX: true, yMin: 0, marker: at(state.frame), series: Page.KINDS.map((name, i) => ({ name, hue: HUES[i], dashed: i === Page.KINDS.length - 1,
        points: frames.map((frame) => [at(frame), found.get(frame).losses[i]]) })) });
  }

  function drawHeads(frames) {
    const { found, film, state } = figure, { n_heads, n_layers } = film.config, heads = n_heads * n_layers;
    const values = Array.from({ length: heads * frames.length }, (_, i) => found.get(frames[i % frames.length]).scores[Math.floor(i / frames.length)]);
    const name = (head) => `block ${Math.floor(head / n_heads)}, head ${head % n_heads}`, step = (c) => film.steps[frames[c]].toLocaleString("en-US");
    Page.heatMap(figure.heads, { label: "Induction score of every head over the training", rows: heads, columns: frames.length, values, max: 1, hue: "attention",
      cellHeight: 16, rowLabels: Array.from({ length: heads }, (_, head) => `${Math.floor(head / n_heads)}.${head % n_heads}`), columnLabels: frames.map((_, c) => step(c)),
      describe: (head, c) => `${name(head)}, step ${step(c)}: induction score ${values[head * frames.length + c].toFixed(3)}`,
      onSelect: (_, c) => Page.seekFilm(frames[c]), selected: [0, Math.max(0, frames.indexOf(state.frame))] });
  }

  /** For each kind, the first frame at which nine tenths of the way down are gone. */
  function tell(last, frame) {
    const { found, film } = figure, first = found.get(0) ?? found.get(last), end = found.get(last), frames = [...found.keys()].sort((a, b) => a - b);
    const low = (i) => frames.find((one) => found.get(one).losses[i] <= 0.1 * first.losses[i] + 0.9 * end.losses[i]);
    const told = Page.KINDS.map((name, i) => `${name} at step ${film.steps[low(i) ?? last].toLocaleString("en-US")} (${end.losses[i].toFixed(2)} at the end)`);
    const now = found.get(frame)?.losses.map((loss, i) => `${Page.KINDS[i]} ${loss.toFixed(2)}`).join(", ");
    const measured = found.size <= film.last ? ` ${found.size} of ${film.last + 1} frames are measured.` : "";
    readout(figure.box, `On ${figure.stories.length} held-out stories, nine tenths of the way from the first loss to the last were gone: ${told.join(", ")}.`
      + `${now ? ` At step ${film.steps[frame].toLocaleString("en-US")}: ${now} nats per token.` : ""}${measured}`);
  }

  Page.step("training", { mount, render });
})();
