// The least-recently-used cache of shards, as src/transformer/data/fineweb/shard_cache.py keeps it:
// opening a shard notes the time, publishing one evicts those longest unused, never one in use.
"use strict";
(() => {
  const Page = (window.Page ??= {});

  class ShardCache {
    constructor(maxShards) {
      if (maxShards < 2) throw new RangeError("The shard in use and the next one need room: at least 2.");
      Object.assign(this, { maxShards, clock: 0, opened: null });
      this.lastAccess = new Map(); // shard -> time
    }

    has(shard) {
      return this.lastAccess.has(shard);
    }

    /** True if the shard is here; its time is noted. */
    open(shard) {
      if (!this.has(shard)) return false;
      this.lastAccess.set(shard, ++this.clock);
      this.opened = shard;
      return true;
    }

    /** A finished shard becomes visible; returns the shards evicted for it. */
    publish(shard, inUse = []) {
      this.lastAccess.set(shard, ++this.clock);
      return this.evict(new Set([...inUse, shard]));
    }

    evict(inUse) {
      const spare = [...this.lastAccess].filter(([shard]) => !inUse.has(shard)).sort((a, b) => a[1] - b[1]);
      const doomed = spare.slice(0, Math.max(0, this.lastAccess.size - this.maxShards)).map(([shard]) => shard);
      for (const shard of doomed) this.lastAccess.delete(shard);
      return doomed;
    }

    /** Shards from the one longest unused to the one used last. */
    get order() {
      return [...this.lastAccess].sort((a, b) => a[1] - b[1]).map(([shard]) => shard);
    }
  }

  Object.assign(Page, { ShardCache });
})();
