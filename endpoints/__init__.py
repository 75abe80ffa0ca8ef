"""Talking to any LLM behind the OpenAI protocol: bought once, never over the cap.

May import `artifacts` and `validation`; knows nothing of medicine.
Begin at `client.py` (`Client.complete`), then `request.py` and `settings.py`.
"""
