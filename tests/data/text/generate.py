#!/usr/bin/env python3
"""Writes vocab.txt and cases.jsonl: what Hugging Face's `tokenizers` (0.23.3) makes of texts that probe its edges.

    pip install tokenizers==0.23.3 && python3 tests/data/text/generate.py
"""
import json
import pathlib
import random

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HERE = pathlib.Path(__file__).resolve().parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789ßσςοδилиюкраöéABÉ"
WORDS = """the a an is was cat cats dog sat on mat un able aff affa ##able ##ffable ##s ##ing ##ed play run runn ##er
un ##believ ##abl ##e believable hello world don t it 's caf naive na ##ive 中 文 國 日本 ##本 の テスト ᄒ ##ᅡ ##ᆫ 한 ##국
Hello World THE É ##É i̇ ##̇ 😀 ## # ##""".split()


def vocabulary():
    tokens = list(SPECIAL)
    tokens += [c for c in map(chr, range(33, 127)) if not c.isalnum()]
    tokens += ["…", "–", "“", "”", "、", "。", "¿"]
    for letter in LETTERS:
        tokens += [letter, "##" + letter]
    tokens += WORDS
    return list(dict.fromkeys(tokens))


TEXTS = [
    "", " ", "\t\r\n", "Hello, World!", "The cat's unaffable; cats play(ed) runner.", "unbelievable", "qqq xyzzy",
    "naïve café É e\u0301", "ΟΔΟΣ ο\u0301δος", "İi̇ ı ẞ ß ſ", "中文國 日本 のテスト 한국 한", "x中y國z", "豈 更",
    "[MASK] a [mask] [MASK][SEP]x[PAD]", "[[MASK]]", "[MASK", "a" * 100, "a" * 101, "a" * 50 + "\u0301" + "b" * 60,
    "a\u200bb\u00adc\ufeffd\x00e\x7ff\x85g\x0bh", "a\u00a0b\u2028c\u3000d\u2003e\u1680f", "a\ue000b \ufffd c\ufffdd",
    "a\u0378b", "≠ ≮ ;\u037e \u1fef", "\u0301a \u0301", "a\u0327\u0301\u0334b", "\u1885\u1886 \u166d \U000111c9",
    "a\u302e\u0334b \u302e\u0301", "\U000111c0\u0301", "\u0301\U000111c0b \u1e0a\U000111c0\u0323a",
    "\u1c89 \ua7cb \ua7dc \U00010d50 \U00016ea0", "\U0002b820a \U0002b920a", "\U00011938", "\u0344a", "😀 👍🏽a",
    "\u2e52a\u2e4fb", "¿a? “b”…", "don't it's #hash ##s", "A\u0345 \u1fb3", "\u0958\u09dc", "e\u0301\u0301e",
    "\U0001d15e \U0001d165", "\u1dfa \u1df6a", "0 1 2 ³ ½",
]
PAIRS = [("the cat", "a dog"), ("", ""), ("the", ""), ("", "the"), ("the cat sat on the mat", "a dog"),
         ("a dog", "the cat sat on the mat"), ("the cat is a cat", "the dog is a dog"), ("unbelievable [SEP] cats", "é中")]


def main():
    random.seed(7)
    tokens = vocabulary()
    (HERE / "vocab.txt").write_text("".join(t + "\n" for t in tokens), encoding="utf-8")
    ids = {token: i for i, token in enumerate(tokens)}
    pieces = [*TEXTS, *WORDS]
    texts = TEXTS + ["".join(random.choice(pieces)[:6] + random.choice(["", " ", "."]) for _ in range(8))
                     for _ in range(40)]
    with open(HERE / "cases.jsonl", "w", encoding="utf-8") as out:

        def write(tokenizer, settings, first, second=None, max_length=0):
            tokenizer.no_truncation()
            if max_length:
                tokenizer.enable_truncation(max_length, strategy="longest_first")
            encoding = tokenizer.encode(first, second)
            case = dict(settings, text=first, ids=encoding.ids, type_ids=encoding.type_ids, offsets=encoding.offsets)
            if second is not None:
                case["pair"] = second
            if max_length:
                case["max_length"] = max_length
            out.write(json.dumps(case) + "\n")

        for lowercase, strip, chinese in [(True, None, True), (False, None, True), (True, False, False),
                                          (False, True, True)]:
            tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
            tokenizer.normalizer = normalizers.BertNormalizer(True, chinese, strip, lowercase)
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
            tokenizer.add_special_tokens(SPECIAL)
            settings = {"lowercase": lowercase, "handle_chinese_chars": chinese}
            if strip is not None:
                settings["strip_accents"] = strip
            for text in texts:
                write(tokenizer, settings, text)
            for max_length in [0, 3, 4, 5, 6, 7, 8, 9, 12] if lowercase and chinese else []:
                for first, second in PAIRS:
                    write(tokenizer, settings, first, second, max_length)
                    if max_length:
                        write(tokenizer, settings, first, None, max_length)


main()
