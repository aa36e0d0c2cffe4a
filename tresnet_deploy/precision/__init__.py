"""Precision as a property of the graph: Q/DQ pairs for INT8 and FP8, types for FP16 and bf16.

``layers`` says what each layer of a TResNet is for, ``placement`` where pairs belong, ``grids``
which numbers they have, ``pairs`` inserts them; ``half`` types a graph or what lies between the
pairs, ``ranges`` measures and ``islands`` keeps in FP32 what FP16 cannot hold. All work on an
``onnx_ir.Model`` in memory.
"""
