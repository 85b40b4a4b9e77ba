"""The one line of JSON that every check here prints."""

import json


def report(latents, differences, tolerance=0):
    """How many of the differences are beyond the tolerance, the largest, and the share within."""
    differing = int((differences > tolerance).sum())
    print(json.dumps({
        "latents": latents,
        "values": differences.size,
        "differing": differing,
        "worst": float(differences.max()),
        "share_within": 1 - differing / differences.size,
    }))
