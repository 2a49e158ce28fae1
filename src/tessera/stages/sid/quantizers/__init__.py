"""Quantizers, found by the name that `sid.quantizer` gives: each module is a `Kind`."""
