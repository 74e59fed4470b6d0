#!/usr/bin/env python3
"""A byte-pair vocabulary and its ids by another library, for tests/training/bpe_test.cpp.

    pip install tokenizers==0.23.3 regex==2026.5.9
    python3 tests/golden/bpe.py tests/golden

Writes bpe_vocab.json and bpe_merges.txt, trained with Hugging Face's tokenizers on the corpus below, and
bpe_samples.json: the corpus, texts with the words that GPT-2's own pattern splits them into (the regex module,
where tokenizers has an engine of its own) and their ids. Characters of the random samples are assigned in
Unicode 14.0, which the classes here and there agree on.
"""
import json
import pathlib
import random
import sys
import unicodedata

import regex
import tokenizers

PATTERN = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
END = "<|endoftext|>"
CORPUS = """\
The river was high that spring, and the miller's daughter didn't think it'd fall before the summer. "We'll wait,"
she said; "they've waited longer, they're patient people, and I'm not afraid of water." So they waited, and the
water rose, and in the third week the bridge was gone. In 1848, 1,250 sacks of flour stood in the mill; in 1849
there were 12, and in 1850 there was nobody left who'd count them.

    for (int i = 0; i < 100; ++i) {
        total += values[i] * values[i];   // the sum of squares
        if (total >= limit) return total;
    }

Der Müller erzählte später, er hätte die Brücke schon im März für verloren gehalten. Straße, Fluß, Größe, Käse.
Le meunier racontait qu'il avait déjà prévu la chute du pont ; l'été fut très chaud, où l'on n'espérait plus rien.
El molino estaba vacío, el niño tenía un año y nadie sabía qué pasaría mañana. ¿Dónde está el río? ¡Allí!
Мельник рассказывал, что мост упал весной, а летом вода ушла. Река была высокой, и никто не ждал.
Ο μυλωνάς είπε ότι το γεφύρι έπεσε την άνοιξη και ότι το νερό έφυγε το καλοκαίρι.
磨坊主说，桥在春天倒了，夏天水就退了。河水很高，没有人等。橋が春に落ちて、夏に水が引いた。
방앗간 주인은 봄에 다리가 무너졌고 여름에 물이 빠졌다고 말했다. الجسر سقط في الربيع والماء ذهب في الصيف.
चक्की वाले ने कहा कि पुल वसंत में गिर गया और गर्मी में पानी चला गया। สะพานพังในฤดูใบไม้ผลิ
The water, the water; the bridge, the bridge. Nobody's there, nobody's waiting, and the river's low again... 🙂🙂 👍🏽
"""
TEXTS = [
    "Hello world", "hello  world", " hello", "hello ", "hello   ", "   hello", "\n", "\n\n", "a\n\nb", "a \n b", "\t\tx",
    "don't they'll we've I'm she'd it's you're 'tis 'S 'LL ''s rock'n'roll", "'", "''", "'s's", " 's", "x 's y", "it' s",
    "The miller's daughter waited for the water.", "12 1,250 3.14159 1848-1850 x2 2x ½ ² Ⅷ 三 ٣٤", "!?", "...", "-- ---",
    "for (int i = 0; i < 100; ++i) { values[i] *= 2; }\n\treturn total;\r\n", "C:\\temp\\x.txt", "a_b-c/d.e@f#g$h%i^j&k*l",
    "naïve façade Ærøskøbing Straße ßẞ ŒUVRE ĳ ǅ", "Мост упал весной — и вода ушла.", "Το γεφύρι έπεσε", "桥在春天倒了。水很高",
    "橋が春に落ちて、カタカナ ｶﾅ", "방앗간 주인은 여름에", "الجسر سقط في الربيع ١٩٨٤", "पुल वसंत में गिर गया", "สะพานพัง", "שלום עולם",
    "🙂", "🙂🙂 👍🏽 👨‍👩‍👧 🇩🇪 ☕️", "e\u0301 e\u0301\u0302 \u0301", "\u00a0", "a\u00a0b", "\u2003x\u2003 y", "\u3000漢字",
    "\u200b\u200d\ufeff", "\x00\x01\x1c\x1d\x1e\x1f\x7f\x85", "\x0b\x0c", "\ufffd\uffff", "\U0010ffff\U000f0000", "𝒜𝟘𐍈𒀀",
    END, "a" + END + "b", END * 2, "<|endoftext|", " " + END + " ", "a" * 40, "ab" * 30, "the" * 20, " " * 50, "\n" * 9 + "x",
    "waterwaterwater bridgebridge", "aaaaaaaaaaaaaaaaaaaaaab",
]


def random_texts(count):
    rng = random.Random(7)
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    low = [c for c in assigned if c < 0x800]
    usual = [ord(c) for c in "  '' \n\tstmdrevl aeTH019.,!"]
    return ["".join(chr(rng.choice(rng.choice((assigned, low, usual, usual)))) for _ in range(rng.randint(1, 24)))
            for _ in range(count)]


folder = pathlib.Path(sys.argv[1])
tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.train_from_iterator([CORPUS], tokenizers.trainers.BpeTrainer(
    vocab_size=799, show_progress=False, initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())))
tokenizer.add_special_tokens([END])  # the last id, as in GPT-2's vocabulary
state = json.loads(tokenizer.to_str())["model"]
(folder / "bpe_vocab.json").write_text(
    json.dumps(dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])), ensure_ascii=False) + "\n")
(folder / "bpe_merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in state["merges"]))

samples = []
for text in TEXTS + random_texts(int(sys.argv[2]) if len(sys.argv) > 2 else 150):
    words = PATTERN.findall(text)
    pieces = [text[a:b] for _, (a, b) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    if pieces != words:
        sys.exit(f"the two libraries split {text!r} into {words} and {pieces}")
    samples.append({"text": text, "words": words, "ids": tokenizer.encode(text).ids})
rows = ",\n".join(json.dumps(sample, ensure_ascii=False) for sample in samples)
(folder / "bpe_samples.json").write_text(
    '{"corpus": ' + json.dumps(CORPUS, ensure_ascii=False) + ',\n"samples": [\n' + rows + "\n]}\n")
