"""Other people's words in a prompt: marked as such, behind a fence that they cannot close."""

import secrets


def fenced(what: str, text: str) -> str:
    """Put untrusted text between two lines with a nonce that its author could not know."""
    nonce = secrets.token_hex(8)
    return f"<<<{what} {nonce}: untrusted text begins\n{text}\n{what} {nonce}: untrusted text ends>>>"
