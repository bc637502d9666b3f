// Step 9, first part: which heads copy a song, where they look, and what is lost without them.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { keep, readout, percent } = Page;
  const figure = { song: 0, head: null, ablated: new Set(), on: "songs", measured: null };

  function mount(root, state) {
    Object.assign(figure, { state, scoresBox: Page.slot(root, "induction"), songBox: Page.slot(root, "song"), ablateBox: Page.slot(root, "ablation") });
    Page.choice(Page.controls(figure.scoresBox), { label: "Measured on", value: "songs", onChange: (value) => { figure.on = value; measure(); },
      options: [{ value: "songs", label: "songs in held-out stories" }, { value: "random", label: "random tokens, repeated" }] });
    const row = Page.controls(figure.songBox);
    figure.song = longestSong();
    Page.choice(row, { label: "Song", value: figure.song, options: songOptions(), onChange: (value) => { figure.song = value; readSong(); } });
    Page.button(row, { label: "Make this story the prompt", onClick: () => Page.setPrompt(state, story().text.slice(0, story().repetition[1])) });
    const switches = Page.controls(figure.ablateBox);
    Page.button(switches, { label: "Ablate the selected head", onClick: () => ablate(figure.head) });
    Page.button(switches, { label: "Ablate another head instead", onClick: () => ablate(other(figure.head)) });
    Page.button(switches, { label: "Put all back", onClick: () => ablate(null) });
    figure.ask = {
      scores: Page.request(figure.scoresBox, state, { task: "scores", label: "Measure the heads", turns: true, lasting: true, draw: useScores,
        progress: ({ share }, { repeats }) => repeats.length > 1 && readout(figure.scoresBox, `Measuring the heads: ${Math.floor(share * repeats.length)} of ${repeats.length} …`) }),
      song: Page.request(figure.songBox, state, { task: "song", label: "Read the song", lasting: true, draw: useSong }),
      ablation: Page.request(figure.ablateBox, state, { task: "ablation", lasting: true, draw: (changed) => drawAblation(changed) }),
    };
    Page.inside = figure; // the patching figure uses the same song
    for (const box of [figure.scoresBox, figure.songBox, figure.ablateBox]) readout(box, "Measuring …");
    Page.whenSeen(root, () => { figure.seen = true; measure(); });
  }

  const songOptions = () => Page.samples.songs.slice(0, 6).map((_, i) => ({ value: i, label: String(i + 1) }));
  const longestSong = () => {
    const lengths = Page.samples.songs.slice(0, 6).map(({ song: [start, stop] }) => stop - start);
    return lengths.indexOf(Math.max(...lengths));
  };
  const story = () => Page.samples.songs[figure.song];

  function render(state, change) {
    if (change === "model") {
      Object.assign(figure, { head: null, measured: null, tokens: null, weights: null });
      figure.ablated.clear();
      for (const ask of Object.values(figure.ask)) ask.stop();
      figure.onSong?.(); // there is none yet
      if (figure.seen) measure();
    } else if (change === "frame" && figure.seen && figure.tokens) follow();
    else if (change === "rest" && figure.seen) measure();
    else if (change === "resize" || change === "theme") {
      if (figure.measured) drawScores();
      if (figure.weights) drawSong();
      if (figure.weights) drawAblation();
    }
  }

  /** Scores of all heads over all songs, with breaths between. */
  function measure() {
    const { model: { config }, tokenizer, engine } = figure.state, repeats = examples(tokenizer, config.max_seq_len);
    if (repeats.length === 0) {
      figure.measured = null;
      figure.ask.scores.withdraw();
      explainShort(figure.scoresBox);
      return void readSong();
    }
    readout(figure.scoresBox, "Measuring …");
    figure.ask.scores.offer({ repeats });
    if (!engine.isLocal) readSong(); // its reader may begin with either
  }

  /** Another moment of the film: head, place and ablation stay. All songs are for when it rests. */
  function follow() {
    figure.ask.song.offer({ tokens: figure.tokens, follow: true });
    figure.ask.scores.offer({ repeats: figure.on === "songs" ? [figure.tokens] : examples(figure.state.tokenizer, figure.state.model.config.max_seq_len).slice(0, 1) });
  }

  function useScores(scores, { repeats }) {
    const { n_heads } = figure.state.model.config, { best } = scores;
    figure.measured = { scores, best, count: repeats.length };
    figure.head ??= best.layer * n_heads + best.head;
    drawScores();
    if (figure.weights) drawSong();
    else readSong();
  }

  function examples(tokenizer, maxLength) {
    if (figure.on === "songs") {
      return Page.samples.songs.map((song) => Page.tokenizeSong(song, tokenizer, maxLength)).filter(Boolean);
    }
    const length = Math.min(25, Math.floor((maxLength - 1) / 2));
    return length < 2 ? [] : Array.from({ length: 8 }, (_, seed) => Page.repeatedRandomTokens(tokenizer, length, seed));
  }

  function explainShort(...boxes) {
    const text = `This model's context of ${figure.state.model.config.max_seq_len} tokens is too short for a song and its repetition.`;
    for (const box of boxes) {
      box.classList.add("empty");
      readout(box, text);
    }
    return text;
  }

  function drawScores() {
    const { scores, best, count } = figure.measured, { n_layers, n_heads } = figure.state.model.config;
    const name = (layer, head) => `block ${layer}, head ${head}`;
    figure.scoresBox.classList.remove("empty");
    Page.heatMap(figure.scoresBox, { label: "Induction score of every head", rows: n_layers, columns: n_heads, values: scores.scores,
      max: 1, hue: "attention", cell: 44, cellHeight: 30, rowLabels: Array.from({ length: n_layers }, (_, i) => `block ${i}`),
      columnLabels: Array.from({ length: n_heads }, (_, i) => `head ${i}`),
      selected: [Math.floor(figure.head / n_heads), figure.head % n_heads],
      describe: (layer, head) => `${name(layer, head)}: induction score ${scores.scores[layer * n_heads + head].toFixed(3)}`,
      onSelect: (layer, head) => { figure.head = layer * n_heads + head; drawScores(); if (figure.weights) drawSong(); } });
    const where = figure.on === "songs" ? (count === 1 ? "one song in a held-out story" : `${count} songs in held-out stories`)
      : `${count} sequence${count === 1 ? "" : "s"} of random tokens`;
    figure.scoresBox.dataset.best = best.score;
    readout(figure.scoresBox, `Over ${where} (${scores.count} copied tokens): the best is ${name(best.layer, best.head)} with `
      + `${best.score.toFixed(3)}. An ideal induction head has 1; a head that pays equal attention to all places has about `
      + `${scores.chance.toFixed(3)}. Press a cell to look at another head.${outOfReach(figure.state.model.config)}`);
  }

  function outOfReach({ variant: { window } }) {
    return window ? ` In this model a head sees the last ${window} positions only, and scores 0 where the first singing is further back.` : "";
  }

  /** The chosen story, through the model: its attention and its copied tokens. */
  function readSong() {
    const { model, tokenizer } = figure.state;
    const tokens = Page.tokenizeSong(story(), tokenizer, model.config.max_seq_len);
    Object.assign(figure, { tokens, weights: null, intact: null });
    if (!tokens) {
      figure.ask.song.withdraw();
      return void figure.onSong?.(explainShort(figure.songBox, figure.ablateBox));
    }
    for (const box of [figure.songBox, figure.ablateBox]) box.classList.remove("empty");
    figure.ablateBox.classList.add("waiting");
    readout(figure.ablateBox, "The song above has not been read yet.");
    figure.ask.song.offer({ tokens });
    figure.onSong?.();
  }

  function useSong({ weights, intact }, { tokens, follow = false }) {
    Object.assign(figure, { weights, intact });
    figure.head ??= 0; // until the heads have been measured
    if (!follow) {
      figure.query = tokens.first.findLastIndex((earlier) => earlier >= 0) - 2;
      if (!(tokens.first[figure.query] >= 0)) figure.query = tokens.first.findIndex((earlier) => earlier >= 0);
    }
    drawSong();
    ablate(follow ? [...figure.ablated][0] ?? null : null);
  }

  /** The story as chips, shaded by where the selected head looks from the chosen token. */
  function drawSong() {
    const { tokens, weights, query, head, state } = figure, { n_heads } = state.model.config;
    const { ids, first } = tokens, T = ids.length, layer = Math.floor(head / n_heads), h = head % n_heads;
    const row = weights[layer].subarray((h * T + query) * T, (h * T + query + 1) * T);
    const shown = ids.map((id) => state.tokenizer.show(id));
    Page.chips(figure.songBox, { label: "Tokens of the story; press one to look from it", tokens: shown, pinned: query,
      shade: [...row], hue: "attention", onPick: (t) => { figure.query = t; drawSong(); } });
    const [most] = Page.largest(row, 1), earlier = first[query];
    const expected = earlier < 0 ? "This token is not in the part of the song that is repeated."
      : `It occurred at position ${earlier} in the first singing, followed by "${shown[earlier + 1]}": that place gets ${percent(row[earlier + 1])}.`;
    readout(figure.songBox, `Block ${layer}, head ${h}, from "${shown[query]}" at position ${query}: most attention, `
      + `${percent(row[most])}, goes to "${shown[most]}" at position ${most}. ${expected}`);
  }

  /** Another head of the same block: the control of the experiment. */
  function other(head) {
    const { n_heads } = figure.state.model.config, first = Math.floor(head / n_heads) * n_heads;
    return n_heads === 1 ? (head + 1) % figure.state.model.config.n_layers : first + ((head - first + 1) % n_heads);
  }

  function ablate(head) {
    if (!figure.weights) return;
    figure.ask.ablation.stop();
    figure.ablated = new Set(head === null ? [] : [head]);
    if (head === null) return void drawAblation(figure.intact);
    if (!figure.state.engine.isLocal) readout(figure.ablateBox, "Computing …");
    figure.ask.ablation.offer({ tokens: figure.tokens, head });
  }

  function drawAblation(changed = figure.changed) {
    const { ablated, intact, state } = figure, { tokenizer } = state, { n_heads } = state.model.config;
    figure.changed = changed;
    figure.ablateBox.classList.remove("waiting");
    Page.bars(keep(figure.ablateBox, "bars", () => document.createElement("div")), {
      label: "Probability of each copied token of the second singing", max: 1, wide: true,
      items: changed.map(({ id, p }, i) => ({ label: tokenizer.show(id), value: p,
        text: ablated.size ? `${percent(intact[i].p)} → ${percent(p)}` : percent(p) })) });
    const mean = (list) => list.reduce((sum, { p }) => sum + p, 0) / list.length;
    const [head] = ablated, name = `block ${Math.floor(head / n_heads)}, head ${head % n_heads}`;
    readout(figure.ablateBox, `Mean probability of the copied tokens: ${percent(mean(intact))} with all heads`
      + (ablated.size ? `, ${percent(mean(changed))} without ${name}.` : ". Nothing is ablated."));
  }

  Page.step("inside", { mount, render });
})();
