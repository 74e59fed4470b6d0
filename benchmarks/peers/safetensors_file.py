"""Safetensors files as dictionaries of PyTorch tensors, for the peers: read and written here, so that they need no
package of that name."""
import json
import struct

TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
         "U8": "uint8"}


def load(path):
    import torch

    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), bytearray(f.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype = getattr(torch, TYPES[entry["dtype"]])
        flat = torch.frombuffer(data, dtype=torch.uint8)[begin:end].clone().view(dtype)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def save(path, tensors):
    names = {value: key for key, value in TYPES.items()}
    header, at, parts = {}, 0, []
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        part = tensor.numpy().tobytes()
        header[name] = {"dtype": names[str(tensor.dtype).split(".")[-1]], "shape": list(tensor.shape),
                        "data_offsets": [at, at + len(part)]}
        at += len(part)
        parts.append(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
