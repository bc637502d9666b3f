// Step 9, third part: which earlier head the best induction head leans on, and whether the model
// matches tokens or counts places.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { keep, readout, percent } = Page;
  const SONGS = 4; // of one song alone the answer would depend on which
  const SONGS_LARGE = 1; // but a large model takes minutes for each
  const AT_ONCE = 3e10; // multiply-adds that are spent without being asked: seconds
  const SHOWN = 12;
  const figure = { found: null, job: null, seen: false };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "circuit") });
    const row = Page.controls(figure.box);
    Page.button(row, { label: "Ablate every earlier head", onClick: () => find() });
    Page.button(row, { label: "Cancel", onClick: cancel });
    readout(figure.box, "Measuring …");
    Page.whenSeen(root, () => { figure.seen = true; start(); });
  }

  function render(state, change) {
    if (!["model", "frame", "rest"].includes(change)) return;
    figure.job?.cancel();
    figure.box.classList.toggle("waiting", change === "frame"); // it takes seconds: at rest
    if (change === "frame") return;
    figure.found = null;
    delete figure.box.dataset.leansOn;
    draw();
    if (figure.seen) start();
  }

  function songs() {
    const { model, tokenizer, engine } = figure.state, most = engine.isLocal ? SONGS : SONGS_LARGE;
    return Page.samples.songs.map((song) => Page.tokenizeSong(song, tokenizer, model.config.max_seq_len)).filter(Boolean).slice(0, most);
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
    figure.job?.cancel();
    if (figure.found) draw();
    else readout(figure.box, "Cancelled. Press the button to begin again.");
  }

  function find() {
    figure.job?.cancel();
    const { model: { config }, tokenizer, engine } = figure.state, repeats = songs();
    if (repeats.length === 0) {
      return void readout(figure.box, `This model's context of ${config.max_seq_len} tokens is too short for a song and its repetition.`);
    }
    const prompts = Page.samples.songs.map((song) => Page.matchOrCountPrompt(tokenizer, config.max_seq_len, song)).filter(Boolean);
    readout(figure.box, "Measuring the heads …");
    figure.job = engine.ask("circuit", { songs: repeats, prompts }, { turns: true, lasting: true,
      progress: ({ done, all }) => readout(figure.box, `Measuring without each earlier head: ${done} of ${all} …`),
      done: (found) => { figure.found = { ...found, songs: repeats.length }; draw(); } });
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
    readout(figure.box, `Over ${found.songs === 1 ? "one song" : `${found.songs} songs`} (${found.count} copied tokens). ${Page.describeCircuit(found)}${describeWays(found.ways)}${more}`);
  }

  Page.step("inside", { mount, render });
})();
