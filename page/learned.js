// What a model has learned, kind by kind: its loss on names that were told before, on sums, pronouns
// and second singings (src/transformer/data/toy/kinds.py), and the induction score of each head.
"use strict";
Page.shared((Page) => {
  const KINDS = ["names", "sums", "pronouns", "second singing", "everything else"];
  const REST = KINDS.length - 1;

  /** Story -> {ids, first, kinds}: kinds[t] is that of token t, an index into KINDS, -1 for the
   *  first token; null if the context is too short for it. */
  function storyOfKinds(story, tokenizer, maxLength) {
    const ids = [tokenizer.startOfText, ...tokenizer.encode(story.text)];
    if (ids.length > maxLength) return null;
    const kinds = ids.map((_, t) => (t === 0 ? -1 : REST));
    for (const [name, places] of Object.entries(story.kinds)) {
      for (const place of places) for (const t of Page.tokensIn(ids, place, story.text, tokenizer)) kinds[t] = KINDS.indexOf(name);
    }
    const first = ids.map(() => -1); // of what is repeated, as in the part up to the second singing
    Page.tokenizeSong(story, tokenizer, maxLength)?.first.forEach((earlier, t) => { first[t] = earlier; });
    return { ids, first, kinds };
  }

  /** {losses: nats per token of each kind (NaN where there is none), scores: of all heads}. */
  function* learned(model, stories) {
    const { d_model: D } = model.config, scores = new Page.InductionScores(model.config);
    const sums = KINDS.map(() => 0), counts = KINDS.map(() => 0);
    for (const story of stories) {
      let hidden = null;
      yield* scores.add(model, story, (name, values) => { if (name === "final_norm") hidden = values; });
      for (let t = 1; t < story.ids.length; t++) {
        const p = Page.softmax(model.unembed(hidden.subarray((t - 1) * D, t * D)));
        sums[story.kinds[t]] -= Math.log(Math.max(p[story.ids[t]], 1e-30));
        counts[story.kinds[t]]++;
        if (t % 32 === 0) yield;
      }
    }
    return { losses: sums.map((sum, i) => sum / counts[i]), scores: scores.scores };
  }

  Object.assign(Page, { KINDS, storyOfKinds, learned });
});
