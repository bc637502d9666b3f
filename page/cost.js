// What generating a token costs, in multiply-adds: each weight of a linear map once per token,
// and for attention one product per query, key and component, twice (scores, then values).
"use strict";
(() => {
  const Page = (window.Page ??= {});

  /** One forward pass over `fresh` tokens after `cached` ones, logits for the last token only. */
  function multiplyAdds(config, fresh, cached = 0) {
    const { d_model: D, d_ff: F, n_layers, vocab_size: V } = config;
    const linear = 3 * D * D + D * D + 2 * D * F; // a token, a block
    const attention = 2 * (cached + fresh) * D; // a token, a block, all heads together
    return fresh * n_layers * (linear + attention) + D * V;
  }

  /** Numbers that a cache for `length` positions holds: keys and values of every block. */
  function cacheValues(config, length) {
    return 2 * config.n_layers * length * config.d_model;
  }

  Object.assign(Page, { multiplyAdds, cacheValues });
})();
