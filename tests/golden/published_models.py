#!/usr/bin/env python3
"""Small transformers of the published families in PyTorch, for tests/models/published_*_test.cpp: weights as
published (gpt2.safetensors, llama.safetensors, t5.safetensors), the gradient of every parameter
(published_gradients.safetensors: "case/parameter"), and in published_models.csv the inputs, outputs, losses and the
losses of ten steps of Adam.

    python3 tests/golden/published_models.py tests/golden

Made with PyTorch 1.13 (Debian 12), one thread; models from transformer_families.py. BERT and ViT have no file: their
values come from conv_nets.py. "embed_tokens", masks and "inv_freq" in the files are what published files hold besides
the weights.
"""
import copy
import json
import pathlib
import struct
import sys

import torch
from conv_nets import fill, hashed
from torch.nn.functional import cross_entropy
from transformer_families import T5, Bert, Gpt2, Llama, Vit, bucket_of

STEPS, LR = 10, 0.01


def draw(model, seed):
    """Large enough that every part of the model matters to the logits."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            near_one = p.dim() == 1 and name.endswith("weight")
            p.copy_(torch.randn(p.shape) * (0.2 if p.dim() == 1 else 0.4) + (1 if near_one else 0))
    return model


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, t in tensors.items():
        raw = t.detach().contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.uint8: "U8"}[t.dtype]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class Cases:
    def __init__(self, file):
        self.file, self.gradients = file, {}
        print("case,part,values", file=file)

    def add(self, case, part, values):
        if torch.is_tensor(values):
            values = values.detach().reshape(-1).tolist()
        print(f"{case},{part}," + " ".join(f"{v:.9g}" for v in values), file=self.file)

    def run(self, case, model, outputs, loss):
        """outputs(): named tensors; loss(): of a step."""
        for name, value in outputs(model).items():
            self.add(case, name, value)
        total = loss(model)
        total.backward()
        self.add(case, "loss", [total.item()])
        for name, p in model.named_parameters():
            self.gradients[f"{case}/{name}"] = p.grad.clone()
        trained = copy.deepcopy(model)
        steps, losses = torch.optim.Adam(trained.parameters(), lr=LR), []
        for _ in range(STEPS):
            steps.zero_grad()
            total = loss(trained)
            total.backward()
            steps.step()
            losses.append(total.item())
        self.add(case, "losses", losses)


def tokens_of(seed, shape, V):
    torch.manual_seed(seed)
    return torch.randint(V, shape)


def decoder_case(cases, case, model, V, T):
    text = tokens_of(5, (2, T + 1), V)
    cases.add(case, "tokens", text[:, :-1])
    cases.add(case, "targets", text[:, 1:])

    def loss(m):
        return cross_entropy(m(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    cases.run(case, model, lambda m: {"logits": m(text[:, :-1])}, loss)


def gpt2(folder, cases):
    model = draw(Gpt2(13, 10, 8, 2, 2, 1e-2), 1)
    file = {}
    for name, t in model.state_dict().items():
        file["transformer." + name] = t
    for i in range(2):
        file[f"transformer.h.{i}.attn.bias"] = torch.ones(10, 10, dtype=torch.uint8).tril()[None, None]
        file[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    file["lm_head.weight"] = model.wte.weight
    write_safetensors(folder / "gpt2.safetensors", file)
    decoder_case(cases, "gpt2", model, 13, 7)


def llama(folder, cases):
    model = draw(Llama(11, 16, 20, 2, 4, 2, 1e-2, 100), 2)
    file = dict(model.state_dict())
    for i in range(2):
        file[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = 100.0**(-torch.arange(0, 4, 2) / 4)
    write_safetensors(folder / "llama.safetensors", file)
    decoder_case(cases, "llama", model, 11, 9)
    model.window = 3
    model.zero_grad()
    decoder_case(cases, "llama-window", model, 11, 9)


def t5(folder, cases):
    model = draw(T5(12, 10, 6, 2, 14, 2, 8, 20, 1e-2), 3)
    file = dict(model.state_dict())
    file["encoder.embed_tokens.weight"] = file["decoder.embed_tokens.weight"] = model.shared.weight
    file["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(8, 2)
    file["lm_head.weight"] = model.shared.weight
    write_safetensors(folder / "t5.safetensors", file)
    source, lengths = tokens_of(6, (2, 23), 12), torch.tensor([23, 14])
    text = tokens_of(7, (2, 9), 12)
    wanted = text[:, 1:].clone()
    wanted[1, 5:] = -100
    for part, value in ("source", source), ("lengths", lengths), ("target", text[:, :-1]), ("wanted", wanted):
        cases.add("t5", part, value)

    def logits(m):
        return m(source, lengths, text[:, :-1])

    cases.run("t5", model, lambda m: {"logits": logits(m)},
              lambda m: cross_entropy(logits(m).flatten(0, 1), wanted.flatten()))
    distance = torch.arange(-300, 301)
    for buckets, most in (32, 128), (8, 20), (10, 64):
        for name, both_ways in ("both", True), ("causal", False):
            cases.add(f"buckets-{buckets}-{most}", name, bucket_of(distance, buckets, most, both_ways))


def bert(cases):
    model = fill(Bert(14, 12, 8, 2, 2, 12, 1e-3))
    tokens, lengths = tokens_of(8, (3, 11), 14), torch.tensor([11, 6, 9])
    segments = (torch.arange(11)[None] >= torch.tensor([5, 3, 0])[:, None]).long()
    hidden, follows = tokens_of(9, (3, 11), 14), torch.tensor([1, 0, 1])
    places = torch.tensor([1, 4, 9, 12, 14, 23, 28])
    hidden = hidden.flatten()[places]
    for part, value in [("tokens", tokens), ("lengths", lengths), ("segments", segments), ("hidden", hidden),
                        ("places", places), ("follows", follows)]:
        cases.add("bert", part, value)

    def outputs(m):
        # What stands in the place of padding is of no interest.
        x, token_logits, next_logits = m(tokens, segments, lengths)
        real = torch.arange(11)[None] < lengths[:, None]
        return {"features": x[real], "token logits": token_logits.flatten(0, 1)[places], "next logits": next_logits}

    def loss(m):
        _, token_logits, next_logits = m(tokens, segments, lengths)
        return cross_entropy(token_logits.flatten(0, 1)[places], hidden) + cross_entropy(next_logits, follows)

    cases.run("bert", model, outputs, loss)


def vit(cases):
    model = fill(Vit(12, 4, 2, 5, 8, 2, 2, 12, 1e-3))
    pictures, labels = hashed((3, 2, 12, 12), 120), torch.tensor([4, 0, 2])
    cases.add("vit", "labels", labels)
    cases.run("vit", model, lambda m: {"logits": m(pictures)}, lambda m: cross_entropy(m(pictures), labels))


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(sys.argv[1])
    with open(folder / "published_models.csv", "w") as file:
        cases = Cases(file)
        gpt2(folder, cases)
        llama(folder, cases)
        t5(folder, cases)
        bert(cases)
        vit(cases)
    write_safetensors(folder / "published_gradients.safetensors", cases.gradients)


if __name__ == "__main__":
    main()
