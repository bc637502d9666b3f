// Step 3: where the chosen head's attention goes over many stories, and its largest weights.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { percent } = Page;
  /** As roles.js counts them. */
  const SHORT = ["itself", "first token", "token before", "after a copy", "earlier copy", "elsewhere"];
  const LONG = ["the token itself", "the first token of the text", "the token before", "the token after an earlier copy (induction)",
    "an earlier copy of the token", "other places"];
  const ELSEWHERE = LONG.length - 1;
  const HALF = 0.5, ROWS = 8; // of the table that agree

  /** chosen: {layer, head}, which changes. */
  function headRole(box, state, chosen) {
    return Page.roleFigure(box, state, { task: "headRoles", label: "Read stories with all heads", what: "heads", chosen: () => `${chosen.layer}.${chosen.head}`,
      show: (found, texts) => show(box, state, chosen, found, texts) });
  }

  function show(box, state, { layer, head }, found, texts) {
    const { equal, heads } = found[layer], one = heads[head];
    Page.bars(box, { label: `Where the attention of block ${layer}, head ${head} goes; in brackets, where equal attention would`, hue: "attention", max: 1, wide: true,
      items: SHORT.map((label, i) => ({ label, value: one.shares[i], text: `${tenths(one.shares[i])} % (${tenths(equal[i])})` })) });
    Page.rolePlaces(box, state, texts, { label: `Largest weights of block ${layer}, head ${head}`, heads: ["weight", "key (filled) and query (framed)"],
      places: one.places.map(({ value, query, key }) => ({ cells: [percent(value)], marks: new Map([[key, "key"], [query, "query"]]),
        spans: [[key - 2, key + 1], [query - 3, query + 1]] })) });
    const positions = texts.reduce((sum, ids) => sum + ids.length - 1, 0), tokens = texts.flat().map((id) => state.tokenizer.show(id));
    Page.readout(box, `Block ${layer}, head ${head}, ${Page.roleSpan(state, texts, positions)} (a story's first token has no choice and is left out): `
      + `${verdict(overall(state, one, equal), amongRows(tokens, one.places))} In brackets: what equal attention would give.`);
  }

  const tenths = (share) => (100 * share).toFixed(1);

  /** At least half way from equal attention to all of it. */
  const stands = (share, equal) => share >= (1 + equal) / 2;

  /** Over all positions: {text, named}. */
  function overall({ tokenizer }, { shares, token, tokenShare, tokenEqual }, equal) {
    const [top] = Page.largest(shares, 1), most = `${percent(shares[top])} of its attention goes to ${LONG[top]} (${percent(equal[top])})`;
    if (top !== ELSEWHERE && stands(shares[top], equal[top])) return { text: most, named: true };
    const keys = `of single tokens “${tokenizer.show(token)}” gets most, ${percent(tokenShare)} (${percent(tokenEqual)})`;
    return { text: `${most}; ${keys}`, named: stands(tokenShare, tokenEqual) };
  }

  /** What most rows of the table share, of those where one key gets more than half of the attention. */
  function amongRows(tokens, places) {
    const sure = places.filter(({ value }) => value > HALF), shared = [];
    const count = (of, say) => {
      const all = sure.map(of), counts = all.map((one) => all.filter((other) => other === one).length), most = Math.max(0, ...counts);
      const text = most >= ROWS && say(all[counts.indexOf(most)]);
      if (text) shared.push(`in ${most} of the ${places.length} rows ${text}`);
    };
    count(({ key }) => tokens[key], (token) => `the key is “${token}”`);
    count(({ relation }) => relation, (relation) => relation !== ELSEWHERE && `the key is ${LONG[relation]}`);
    count(({ query }) => tokens[query], (token) => `the query is “${token}”`);
    return shared.length ? `${shared.join(", ")}, with more than half of the attention` : "";
  }

  function verdict({ text, named }, rows) {
    if (rows) return `${rows}. Over all positions, ${text}.`;
    if (named) return `${text}.`;
    return `nothing coherent shows. ${text}, and the rows have too little in common: a job is named where half of the way from equal attention to all of it is gone, or where `
      + `${ROWS} rows agree. Many heads do several things, or none that can be put into a word; that is usual.`;
  }

  Object.assign(Page, { headRole });
})();
