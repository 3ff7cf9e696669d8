"""Files of CLIP's tokenizer, for programs that read one from a model's folder.

open_clip has this tokenizer built in, and takes it for an exported model. These are the files that it uploads
beside a model: `tokenizer.json` for the library tokenizers, and those that transformers' CLIPTokenizer reads.
Source: the conversion of CLIP's tokenizer in transformers, convert_slow_tokenizer.py.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from cosmos.run.files import write_json, write_text

START, END = "<|startoftext|>", "<|endoftext|>"
"""Names of the tokens that begin and end a text, as the hub has them; open_clip's own are other ones."""

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""Pattern of the pieces that a text is cut into."""


@cache
def clip_tokenizer() -> SimpleTokenizer:
    """Return open_clip's tokenizer of CLIP, which takes a quarter of a second to make."""
    return SimpleTokenizer()


def write_tokenizer_files(folder: Path, context_length: int, vocab_size: int) -> None:
    """Write the files of the tokenizer of a model into a folder.

    A vocabulary smaller than CLIP's has no tokenizer, so that none are written.
    """
    clip = clip_tokenizer()
    if vocab_size < clip.vocab_size:
        return
    tokens = {START: clip.sot_token_id, END: clip.eot_token_id}
    words = {word: number for word, number in clip.encoder.items() if number not in tokens.values()}
    merges = list(clip.bpe_ranks)
    write_text(folder / "tokenizer.json", compiled_tokenizer({**words, **tokens}, merges).to_str())
    write_text(folder / "vocab.json", json.dumps({**words, **tokens}, ensure_ascii=False))
    write_text(folder / "merges.txt", "".join(["#version: 0.2\n", *(f"{a} {b}\n" for a, b in merges)]))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    write_json(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": context_length, "do_lower_case": True}
    write_json(folder / "tokenizer_config.json", {**settings, **special, "add_prefix_space": False})


def compiled_tokenizer(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """Return CLIP's tokenizer as one of the library tokenizers: it adds the start and the end of a text."""
    model = BPE(
        vocabulary,
        list(merges),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        fuse_unk=False,
        unk_token=END,
    )
    tokenizer = Tokenizer(model)
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    pieces = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    bytes_of_pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, bytes_of_pieces])
    tokenizer.decoder = decoders.ByteLevel()
    start, end = ((token, vocabulary[token]) for token in (START, END))
    tokenizer.post_processor = processors.RobertaProcessing(
        end, start, trim_offsets=False, add_prefix_space=False
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (START, END)])
    return tokenizer
