// Step 4: the places in many stories where the chosen neuron fires most.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { percent, format } = Page;
  const PLACES = 10;
  const [BEFORE, AT, AFTER] = [0, 1, 2]; // as roles.js keeps them
  const WORDS = ["after ", "", "before "];
  const NAMED = 0.5; // of all that a neuron fires, from where on a token is named
  const OFTEN = 5; // times that such a token must be in the stories
  const SHOWN = 6; // neurons that keep to one token

  /** chosen: {layer, neuron}, which changes; pick(neuron) chooses another. */
  function neuronRole(box, state, chosen, pick) {
    let counted = { texts: null, counts: null };
    return Page.roleFigure(box, state, { task: "neuronRoles", label: "Read stories with all neurons", what: "neurons", chosen: () => `${chosen.layer}.${chosen.neuron}`,
      show: (found, texts) => {
      const { layer, neuron } = chosen;
      if (neuron === null) return; // not chosen yet: the model still answers
      if (counted.texts !== texts) counted = { texts, counts: countTokens(texts) };
      show(box, state, { layer, neuron, found: found[layer], texts, counts: counted.counts, pick });
    } });
  }

  function countTokens(texts) {
    const counts = new Map();
    for (const id of texts.flat()) counts.set(id, (counts.get(id) ?? 0) + 1);
    return counts;
  }

  /** The largest share of what neuron n fires that belongs to one token: {share, token, which}. */
  function mostAt({ tokens, shares }, n, counts) {
    const all = [AT, BEFORE, AFTER].map((which) => ({ which, token: tokens[3 * n + which], share: shares[3 * n + which] }));
    const best = all.reduce((a, b) => (b.share > a.share ? b : a));
    return { ...best, named: best.share >= NAMED && counts.get(best.token) >= OFTEN };
  }

  function show(box, state, { layer, neuron, found, texts, counts, pick }) {
    const { firing, values, places } = found, all = Array.from(firing, (_, n) => mostAt(found, n, counts));
    const named = all.filter((one) => one.named).length;
    const best = Page.largest(all.map((one) => (one.named ? one.share : -1)), Math.min(SHOWN, named));
    Page.subtitle(box, "Those of this block that keep most to one token").hidden = named === 0;
    Page.chips(box, { label: "Neurons of this block that keep most to one token; press one to see it", tokens: best.map((n) => `#${n}`),
      notes: best.map((n) => WORDS[all[n].which] + state.tokenizer.show(all[n].token)), pinned: best.indexOf(neuron), onPick: (i) => pick(best[i]) });
    const rows = Array.from({ length: PLACES }, (_, i) => neuron * PLACES + i).filter((row) => places[row] >= 0);
    Page.rolePlaces(box, state, texts, { label: `Places where neuron ${neuron} of block ${layer} fires most`, heads: ["activation", "at the marked token"],
      places: rows.map((row) => ({ cells: [format(values[row])], marks: new Map([[places[row], "neuron"]]), spans: [[places[row] - 6, places[row] + 3]] })) });
    const positions = texts.flat().length;
    Page.readout(box, `Neuron ${neuron} of block ${layer}, ${Page.roleSpan(state, texts, positions)}: ${verdict(state, firing[neuron], all[neuron], counts)} `
      + `In this block ${named} of ${all.length} neurons keep to one token: half or more of what they fire, and the token is there at least ${OFTEN} times.${negative(state)}`);
  }

  function verdict({ tokenizer }, firing, { share, token, which, named }, counts) {
    if (firing === 0) return "its activation is never above 0.";
    const fires = `it fires (above 0) in ${percent(firing)} of them`, of = `${which === AT ? "at" : `right ${WORDS[which].trim()}`} the token “${tokenizer.show(token)}”`;
    const most = `${percent(share)} is ${of}, which the stories have ${counts.get(token)} times`;
    if (named) return `${fires}, and of all that it fires ${most}.`;
    return `${fires}. Nothing coherent shows: of all that it fires, at most ${most}. If the rows have something else in common, such as a kind of word, `
      + "that has not been measured. Many neurons have no job that can be put into a word; that is usual.";
  }

  function negative({ model }) {
    return model.config.variant.feed_forward === "swiglu" ? " In this model (SwiGLU) activations can be far below 0, too: those are not counted." : "";
  }

  Object.assign(Page, { neuronRole });
})();
