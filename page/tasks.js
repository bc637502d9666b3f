// Everything that a figure may ask of the model, by name: what crosses to the worker and back is
// plain data. A task is a generator (turns.js) of the host, {model, trace, memory}, and its question.
"use strict";
Page.shared((Page) => {
  /** The taps that figures read by themselves. */
  const SHOWN = /^embedding$|^final_norm$|\.(queries|keys|scores|weights|output|activations|residual)$/;

  const tasks = {
    /** The shared pass: its taps, and the logits after some positions. */
    * read({ trace }, { ids, positions }) {
      yield* Page.part(trace.steps(ids), 0, 1, trace.model.config.n_layers);
      const values = new Map([...trace.values].filter(([name]) => SHOWN.test(name)));
      return { values, logitRows: new Map(positions.map((t) => [t, trace.logits(t)])) };
    },

    * logits({ trace }, { position }) { return trace.logits(position); },

    * neighbours({ model }, { id, count }) { return yield* Page.neighbours(model, id, count); },

    * positions({ model }, { T }) { return Page.positionProducts(model, T); },

    * order({ model }, { ids, other, lesson }) { return yield* Page.orderEffect(model, ids, other, lesson); },

    * mask({ model }, { ids, other, lesson }) { return yield* Page.changeBeforeLast(model, ids, other, lesson); },

    * neurons({ model, trace }, { layer, position, count }) {
      const row = (name) => trace.row(`blocks.${layer}.${name}`, position);
      return { sums: Page.neuronSums(model, layer, row("residual_middle")),
        strongest: Page.strongestNeurons(model, layer, row("feed_forward.activations"), count) };
    },

    * silence({ model }, { ids, layer, neuron, position }) { return yield* Page.silence(model, ids, layer, neuron, position); },

    * without({ model }, { ids, part }) { return yield* Page.compareWithout(model, ids, part); },

    * lens(host, { from, to }) { return yield* Page.lensTable(host, from, to); },

    * backPropagate(host, question) { return yield* Page.backPropagate(host, question); },

    * gradient({ model }, { sequences, rows }) {
      const parts = [];
      for (const ids of sequences) {
        yield { share: parts.length / sequences.length };
        parts.push(yield* Page.sequenceErrors(model, ids, rows));
      }
      return parts;
    },

    /** One token more of the text `ids` that was begun with this seed; `begin`: from its start. */
    * write({ model, memory }, { ids, seed, settings, begin }) {
      if (begin) memory.writer = { rng: Page.random(seed), cache: new Page.KVCache(model.config), ids };
      return yield* Page.nextToken(model, memory.writer, settings);
    },

    * cost({ model, memory }, { ids, bug, begin }) {
      if (begin) memory.costCache = new Page.KVCache(model.config);
      return yield* Page.compareOnce(model, ids, memory.costCache, bug);
    },

    * learned({ model }, { stories }) { return yield* Page.learned(model, stories); },

    /** Induction scores over all repeats. */
    * scores({ model }, { repeats }) {
      const scores = new Page.InductionScores(model.config), L = model.config.n_layers;
      for (const [i, repeat] of repeats.entries()) {
        const share = (n) => (i + n) / repeats.length;
        yield { share: share(0) };
        yield* Page.part(scores.add(model, repeat), share(0), share(1), L);
      }
      const { count, chance } = scores;
      return { scores: scores.scores, best: Page.bestHead(scores), count, chance };
    },

    /** One song: where each head looks, and what the copied tokens get. */
    * song({ model }, { tokens }) {
      const L = model.config.n_layers, copied = tokens.first.filter((earlier) => earlier >= 0).length;
      const weights = yield* Page.part(new Page.InductionScores(model.config).add(model, tokens), 0, 0.5, L);
      return { weights, intact: yield* Page.part(Page.copiedProbabilities(model, tokens), 0.5, 1, L + copied) };
    },

    * ablation({ model }, { tokens, head }) {
      const tap = Page.ablating(model.config, new Set([head])), L = model.config.n_layers;
      return yield* Page.part(Page.copiedProbabilities(model, tokens, tap), 0, 1, L + tokens.first.length / 2);
    },

    /** The circuit, and how the model continues songs that are begun in the middle. */
    * circuit({ model }, { songs, prompts }) {
      const found = yield* Page.findCircuit(model, songs), ways = [];
      for (const prompt of prompts) ways.push(yield* Page.matchOrCount(model, prompt));
      return { ...found, ways };
    },

    * patching({ model, memory }, { pair }) {
      memory.patching = null;
      memory.patching = yield* Page.part(Page.Patching.prepare(model, pair), 0, 1, 2 * model.config.n_layers);
      const { cleanDifference, corruptedDifference } = memory.patching;
      return { cleanDifference, corruptedDifference };
    },

    /** Each block and position alone; the two ends of the scale are run, too. */
    * sweep({ model, memory: { patching } }, { site }) {
      const values = yield* patching.sweep(site);
      const residuals = model.blocks.map((_, i) => `blocks.${i}.residual`);
      return { values, all: yield* patching.patchAll(residuals), none: yield* patching.patchAll([]) };
    },

    * headVectors(host, { layer, head }) { return Page.headVectors(host, layer, head); },

    * countNeurons(host, { layer, range }) { return Page.countNeurons(host, layer, range); },

    * neuronRoles(host, { texts }) { return (yield* Page.readStories(host, texts)).neurons; },

    * headRoles(host, { texts }) { return (yield* Page.readStories(host, texts)).heads; },

    * muon({ model }, { sequences }) { return yield* Page.muonRounds(model, sequences); },
  };

  Object.assign(Page, { tasks });
});
