"""All that training is. The rest of this project is comfort.

    uv run python commands/bare_loop.py        it learns, and then it tells a story

commands/train.py adds validation, a learning rate that rises and falls, gradient accumulation,
checkpoints, curves, and the sample after each validation.
"""

import torch

from transformer.config import ModelConfig
from transformer.data.bpe import make_tokenizer
from transformer.data.toy.source import ToyStoriesSource, tokenizer_stories
from transformer.generation import generate
from transformer.model import DecoderOnlyTransformer

STEPS = 400

torch.manual_seed(0)
tokenizer = make_tokenizer("bpe:1024", tokenizer_stories())
stories = ToyStoriesSource(tokenizer, seq_length=144)
sizes = {"d_model": 64, "n_heads": 4, "n_layers": 2, "d_ff": 256}
config = ModelConfig(tokenizer.vocab_size, **sizes, max_seq_len=144, dropout=0.0)
model = DecoderOnlyTransformer(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

batches = stories.train_batches(batch_size=16)
for step in range(1, STEPS + 1):
    batch = next(batches)
    loss = model.loss(batch.inputs, batch.targets)  # how surprised is it?
    loss.backward()  # in which direction does each weight raise the loss?
    optimizer.step()  # a small step the other way
    optimizer.zero_grad()  # the next gradient starts from zero
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}, at best {stories.floor:.3f}")

end = tokenizer.end_of_text  # of one story, and so the beginning of the next
ids = generate(model.eval(), torch.tensor([[end]]), 143, stop_ids=[end])
print(tokenizer.decode(ids[0, 1:].tolist()))
