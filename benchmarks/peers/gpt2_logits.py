#!/usr/bin/env python3
"""Logits of a published GPT-2 by PyTorch, for `gpunn train gpt2` to compare with.

    /usr/bin/python3 benchmarks/peers/gpt2_logits.py FOLDER [--sequences 2] [--length 64]

FOLDER has config.json and model.safetensors. Writes logits.safetensors there: "tokens" i64 [sequences, length], random,
and "logits" f32 [sequences, length, vocabulary], computed in f64.
"""
import argparse
import json
import os

import safetensors_file

TURNED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # stored as [in, out]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--length", type=int, default=64)
    options = parser.parse_args()
    import torch

    from gpt2 import Gpt2

    with open(os.path.join(options.folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    model = Gpt2(config["vocab_size"], config["n_positions"], config["n_embd"], config["n_layer"], config["n_head"],
                 config.get("layer_norm_epsilon", 1e-5)).double()
    weights = {}
    for name, tensor in safetensors_file.load(os.path.join(options.folder, "model.safetensors")).items():
        name = name[len("transformer."):] if name.startswith("transformer.") else name
        if name.endswith((".attn.bias", ".attn.masked_bias")) or name == "lm_head.weight":
            continue
        weights[name] = (tensor.t() if name.endswith(TURNED) else tensor).double()
    model.load_state_dict(weights)
    torch.manual_seed(0)
    tokens = torch.randint(config["vocab_size"], (options.sequences, min(options.length, config["n_positions"])))
    with torch.no_grad():
        logits = model(tokens).float()
    path = os.path.join(options.folder, "logits.safetensors")
    safetensors_file.save(path, {"tokens": tokens, "logits": logits})
    print(f"{path}: {tuple(logits.shape)}, up to {logits.abs().max():.4g}, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
