"""A data set of the hub, streamed: `transformer/fineweb_dataset.py` tells the idea of each part.

| File | The question it answers |
|---|---|
| `config.py` | Which data set, kept where, and what is an epoch? |
| `hub.py` | What files are there, and how does one get any bytes of them? |
| `retry.py` | Which failures are worth another try, and for how long? |
| `remote_parquet.py` | How does one read one row group of a file that is not here? |
| `shard.py` | Where are files cut, and which shards validate? |
| `cached_shard.py` | What is in a shard on disk, and how is damage found? |
| `shard_cache.py` | Which shards stay on disk, and which one goes? |
| `shard_builder.py` | How is a shard made while training goes on? |
| `block_order.py` | Which sequence comes next, and how is a place written down? |
| `block_stream.py` | How do blocks become rows of batches, read ahead? |
| `hub_dataset.py` | What is in the data set, and where do a block's tokens come from right now? |
| `shared_start.py` | Where does an epoch start, if several loader workers read it? |
| `background.py` | How does work run beside the training without delaying its end? |
| `fork_gate.py` | Why may a process with such threads not be forked at any time? |
"""
