// What generating a token costs, in multiply-adds: each weight of a linear map once per token,
// and for attention one product per query, key and component, twice (scores, then values).
"use strict";
Page.shared((Page) => {

  /** One forward pass over `fresh` tokens after `cached` ones, logits for the last token only. */
  function multiplyAdds(config, fresh, cached = 0) {
    const { d_model: D, d_ff: F, n_layers, vocab_size: V, n_heads: H, n_kv_heads, head_size: K, variant } = config;
    const feedForward = (variant.feed_forward === "swiglu" ? 3 : 2) * D * F;
    const linear = D * (H + 2 * n_kv_heads) * K + H * K * D + feedForward; // a token, a block; 4D² + 2DF if H · K = D
    const attention = 2 * (cached + fresh) * H * K; // a token, a block, all heads together
    return fresh * n_layers * (linear + attention) + D * V;
  }

  /** Numbers that a cache for `length` positions holds: keys and values of every block. */
  function cacheValues(config, length) {
    return 2 * config.n_layers * length * config.n_kv_heads * config.head_size;
  }

  Object.assign(Page, { multiplyAdds, cacheValues });
});
