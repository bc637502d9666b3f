// Step 9, third part: which earlier head the best induction head leans on, and whether the model
// matches tokens or counts places.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { keep, readout, percent } = Page;
  const SONGS = 4; // of one song alone the answer would depend on which
  const AT_ONCE = 3e10; // multiply-adds that are spent without being asked: seconds
  const SHOWN = 12;
  const figure = { turn: 0, found: null, seen: false };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "circuit") });
    const row = Page.controls(figure.box);
    Page.button(row, { label: "Ablate every earlier head", onClick: () => find() });
    Page.button(row, { label: "Cancel", onClick: cancel });
    readout(figure.box, "Measuring …");
    Page.whenSeen(root, () => { figure.seen = true; start(); });
  }

  function render(state, change) {
    if (change !== "model") return;
    figure.turn++;
    figure.found = null;
    delete figure.box.dataset.leansOn;
    draw();
    if (figure.seen) start();
  }

  function songs() {
    const { model, tokenizer } = figure.state;
    return Page.samples.songs.map((song) => Page.tokenizeSong(song, tokenizer, model.config.max_seq_len)).filter(Boolean).slice(0, SONGS);
  }

  /** At once where it takes seconds; a large model waits for its reader. */
  function start() {
    const { config } = figure.state.model;
    const once = songs().reduce((sum, { ids }) => sum + Page.multiplyAdds(config, ids.length), 0);
    const most = once * config.n_layers * config.n_heads; // one run for each head
    if (most <= AT_ONCE) find();
    else readout(figure.box, "This model is large: to ablate its heads one by one takes a while. Press the button to begin.");
  }

  function cancel() {
    figure.turn++;
    if (!figure.found) readout(figure.box, "Cancelled. Press the button to begin again.");
  }

  async function find() {
    const turn = ++figure.turn, { model } = figure.state, repeats = songs();
    if (repeats.length === 0) {
      return void readout(figure.box, `This model's context of ${model.config.max_seq_len} tokens is too short for a song and its repetition.`);
    }
    readout(figure.box, "Measuring the heads …");
    await Page.breathe();
    if (turn !== figure.turn) return;
    const found = await Page.findCircuit(model, repeats, { cancelled: () => turn !== figure.turn,
      onProgress: (done, all) => readout(figure.box, `Measuring without each earlier head: ${done} of ${all} …`) });
    const ways = found && await continuations(() => turn !== figure.turn);
    if (!ways) return;
    figure.found = { ...found, songs: repeats.length, ways };
    draw();
  }

  /** How the model continues each song whose second singing starts in the middle. */
  async function continuations(cancelled) {
    const { model, tokenizer } = figure.state, ways = [];
    for (const song of Page.samples.songs) {
      await Page.breathe();
      if (cancelled()) return null;
      ways.push(Page.matchOrCount(model, tokenizer, song));
    }
    return ways.filter(Boolean);
  }

  function describeWays(ways) {
    const count = (kind) => ways.filter((way) => way === kind).length;
    return ways.length === 0 ? "" : ` With a second singing that starts with the second and third syllable, the model continues with the fourth `
      + `(it matches) in ${count("match")} of ${ways.length} songs, and with the third (it counts) in ${count("count")}.`;
  }

  const both = (score, probability) => `${score.toFixed(2)} · ${percent(probability).replace(" ", "\u00a0")}`;

  /** The score that is left without each earlier head, the one most missed first. */
  function draw() {
    const bars = keep(figure.box, "bars", () => document.createElement("div")), { found } = figure;
    bars.hidden = !found?.helpers.length;
    if (!found) return;
    const items = found.helpers.slice(0, SHOWN).map(({ layer, head, score, probability }) => ({
      label: `without ${layer}.${head}`, value: score, text: both(score, probability) }));
    Page.bars(bars, { label: "Induction score of the best head without each earlier head, and probability of the copied tokens",
      max: 1, wide: true, hue: "attention", items: [{ label: "all heads", value: found.best.score, hue: "neutral",
        text: both(found.best.score, found.probability) }, ...items] });
    const helper = Page.leansOn(found);
    figure.box.dataset.leansOn = helper ? `${helper.layer}.${helper.head} ${Page.helperKind(helper)}` : "none";
    const more = found.helpers.length > SHOWN ? ` Shown are the ${SHOWN} most missed of ${found.helpers.length} earlier heads.` : "";
    readout(figure.box, `Over ${found.songs} songs (${found.count} copied tokens). ${Page.describeCircuit(found)}${describeWays(found.ways)}${more}`);
  }

  Page.step("inside", { mount, render });
})();
