"""Faster implementations that the layers select automatically; nothing else imports them."""

__all__: list[str] = []
