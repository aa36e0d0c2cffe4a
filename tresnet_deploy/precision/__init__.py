"""Precision as a property of the graph: Q/DQ pairs for INT8, typed graphs for FP16 and bf16.

``layers`` says what each layer of a TResNet is for, ``placement`` where pairs belong, ``pairs``
inserts them, ``half`` types a graph. All work on an ``onnx_ir.Model`` in memory.
"""
