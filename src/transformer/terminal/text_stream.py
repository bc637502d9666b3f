"""From token ids to text that can be shown while it is being written.

Two things keep a token from being printed at once. A token may hold only a part of a
character ("☃" is e2 98 | 83), so incomplete bytes wait for the rest. And the text may be
about to spell a stop string, so anything that could still become one waits too.
"""

import codecs
import re
from collections.abc import Iterator, Sequence

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.generation import Step, generate_steps
from transformer.machine.memory import check_fits
from transformer.model import DecoderOnlyTransformer
from transformer.sampling import SamplingSettings

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """Text without the control characters that could steer a terminal (new line, tab stay)."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class TextBuilder:
    """The text of one row, as its tokens come.

    Args:
        stop: the text ends before the first of these strings.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        if not all(stop):
            raise UserError("a stop string is empty; leave it out")
        self.tokenizer = tokenizer
        self.stop = stop
        self.text = ""  # certain, handed out already
        self.ids: list[int] = []
        self.ended_by: str | None = None  # "end_of_text" or "stop"
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._waiting = ""

    def push(self, token: int) -> str:
        """Take a token; return the text that has become certain."""
        if self.ended_by:
            return ""
        if token == self.tokenizer.end_of_text:
            new = self.finish()
            self.ended_by = self.ended_by or "end_of_text"
            return new
        self.ids.append(token)
        self._waiting += self._decoder.decode(self.tokenizer.decode_bytes([token]))
        return self._release(final=False)

    def finish(self) -> str:
        """No token follows: return what was still waiting."""
        if self.ended_by:
            return ""
        self._waiting += self._decoder.decode(b"", final=True)
        return self._release(final=True)

    def _release(self, final: bool) -> str:
        places = [at for at in map(self._waiting.find, self.stop) if at >= 0]
        if places:
            self.ended_by = "stop"
            new, self._waiting = self._waiting[: min(places)], ""
        else:
            cut = len(self._waiting) - (0 if final else self._length_in_doubt())
            new, self._waiting = self._waiting[:cut], self._waiting[cut:]
        self.text += new
        return new

    def _length_in_doubt(self) -> int:
        """Characters at the end that could be the beginning of a stop string."""
        text = self._waiting
        longest = max(map(len, self.stop), default=0)
        for length in range(min(longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self.stop):
                return length
        return 0


def stream_text(
    model: DecoderOnlyTransformer,
    prompt: Sequence[int],
    builders: Sequence[TextBuilder],
    max_new_tokens: int,
    settings: SamplingSettings,
    seeds: Sequence[int],
) -> Iterator[tuple[Step, list[str]]]:
    """Continue `prompt` once per builder; yields each step with every row's new text.

    The text that waits at the end stays in the builders until their `finish`.
    """
    end_of_text = builders[0].tokenizer.end_of_text
    prompts = [prompt] * len(builders)
    for step in generate_steps(
        model, prompts, max_new_tokens, settings, seed=seeds, stop_ids=(end_of_text,)
    ):
        tokens = step.ids.tolist()
        yield step, [builder.push(token) for builder, token in zip(builders, tokens, strict=True)]
        if all(builder.ended_by for builder in builders):
            return


def check_generation(model: DecoderOnlyTransformer, samples: int) -> None:
    """
    Raises:
        UserError: the keys and values of this many samples cannot fit into the device's memory.
    """
    config, weight = model.config, model.token_embedding.weight
    per_position = 2 * config.n_layers * config.n_kv_heads * config.head_size * weight.itemsize
    needed = samples * config.max_seq_len * per_position
    check_fits("generation", needed, weight.device, {"--samples": samples})
