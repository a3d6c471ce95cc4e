"""Faster forms of operations that the layers choose by themselves; nothing else imports them."""

__all__: list[str] = []
