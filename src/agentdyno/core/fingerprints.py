"""What a variant is, in one digest."""

from __future__ import annotations

from dataclasses import replace

from agentdyno.core.ids import digest
from agentdyno.core.jsonable import content_digest
from agentdyno.core.records import HarnessProfile, Provider, Variant


def fingerprint(variant: Variant, provider: Provider, profile: HarnessProfile) -> str:
    """The digest of what a variant is: itself, its provider and its harness profile, less their descriptions.

    What its tokens cost is no part of it: a price that was corrected makes it no other variant.
    """
    parts = {
        "variant": replace(variant, description=""),
        "provider": replace(provider, description="", prices={}),
        "harness_profile": replace(profile, description=""),
    }
    return digest({name: content_digest(part) for name, part in parts.items()})
